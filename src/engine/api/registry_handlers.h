// SPDX-License-Identifier: Apache-2.0
//
// Handlers that ask a registry: login, what a name means there, search, push.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> CheckAuth(Call& call);
Result<> GetDistribution(Call& call);
Result<> SearchImages(Call& call);
Result<> PushImage(Call& call);

}  // namespace gantry::engine::api
