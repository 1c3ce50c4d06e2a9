// SPDX-License-Identifier: Apache-2.0
//
// The query parameters and headers of POST /build. One thread.
#pragma once

#include "build/request.h"
#include "buildkit/http_build.h"
#include "engine/api/api.h"

namespace gantry::engine::api {

// Errors in docker's words: kInvalidArgument, kUnimplemented for what only version 2 has.
Result<build::BuildRequest> ReadBuildRequest(Call& call);

// Version 2 of the call is BuildKit's build.
bool IsBuildKit(const Call& call);
Result<buildkit::HttpBuild> ReadHttpBuild(Call& call);

}  // namespace gantry::engine::api
