// SPDX-License-Identifier: Apache-2.0
//
// Builds by the Engine API: docker's classic builder.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> BuildImage(Call& call);
Result<> PruneBuildCache(Call& call);
Result<> CancelBuild(Call& call);

}  // namespace gantry::engine::api
