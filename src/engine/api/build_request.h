// SPDX-License-Identifier: Apache-2.0
//
// The query parameters and headers of POST /build. One thread.
#pragma once

#include "build/request.h"
#include "engine/api/api.h"

namespace gantry::engine::api {

// Errors in docker's words: kInvalidArgument, kUnimplemented for what only BuildKit has.
Result<build::BuildRequest> ReadBuildRequest(Call& call);

}  // namespace gantry::engine::api
