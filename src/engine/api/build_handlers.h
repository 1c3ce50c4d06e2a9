// SPDX-License-Identifier: Apache-2.0
//
// Builds by the Engine API: docker's classic builder.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> BuildImage(Call& call);
Result<> PruneBuildCache(Call& call);
Result<> CancelBuild(Call& call);
// BuildKit's API: the connection becomes its own.
Result<> ServeBuildKit(Call& call);
Result<> ServeBuildSession(Call& call);

}  // namespace gantry::engine::api
