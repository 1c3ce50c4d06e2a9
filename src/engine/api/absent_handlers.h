// SPDX-License-Identifier: Apache-2.0
//
// What docker's API has and this engine is not: a swarm node, a host of engine plugins, BuildKit.
// The answers are those of a docker engine that has none either, so that clients go on.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

// 503: this node is no manager.
Result<> NoSwarmManager(Call& call);
// The same for a request with a body, which is looked at first.
Result<> NoSwarmManagerForBody(Call& call);
Result<> LeaveSwarm(Call& call);
// 501: init and join would make one.
Result<> NoSwarmMode(Call& call);

// PUT /volumes/{}: only volumes of a swarm can be changed.
Result<> NoClusterVolume(Call& call);

Result<> ListPlugins(Call& call);
Result<> NoSuchPlugin(Call& call);
// 501: pull, create, upgrade.
Result<> NoPlugins(Call& call);

// OPTIONS of any path.
Result<> AnswerOptions(Call& call);

}  // namespace gantry::engine::api
