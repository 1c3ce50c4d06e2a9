// SPDX-License-Identifier: Apache-2.0
//
// What a create request means in the API version that its client speaks. Any thread.
#pragma once

#include "base/error.h"
#include "engine/config.h"
#include "engine/config_checks.h"

namespace gantry::engine::api {

// Fields that came later are left out, defaults are those of then. `minor`: of version 1.MINOR.
Result<Warnings> ShapeCreate(int minor, bool unified_cgroups, CreateRequest* request);

}  // namespace gantry::engine::api
