// SPDX-License-Identifier: Apache-2.0
//
// Handlers of what concerns the engine as a whole. They run on workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> Ping(Call& call);
Result<> GetVersion(Call& call);

}  // namespace gantry::engine::api
