// SPDX-License-Identifier: Apache-2.0
//
// GET /images/json, with docker's filters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/api/api.h"
#include "engine/api/filters.h"

namespace gantry::engine::api {

Result<> ListImages(Call& call);

// The filter "dangling": nothing when it is not given. kInvalidArgument: "Invalid filter
// 'dangling=[x]'".
Result<std::optional<bool>> DanglingFilter(const Filters& filters);
// A time, or a Go duration before now. kInvalidArgument.
Result<WallTime> ParseUntil(const std::string& text);
// The filter "until": a time, or a Go duration before now. Nothing when it is not given.
Result<std::optional<WallTime>> UntilFilter(const Filters& filters);

}  // namespace gantry::engine::api
