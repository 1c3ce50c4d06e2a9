// SPDX-License-Identifier: Apache-2.0
//
// Platforms in a request's query: JSON objects with "os", "architecture" and "variant", in the API
// versions that have them. Pure; any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "engine/api/api.h"
#include "oci/platform.h"

namespace gantry::engine::api {

// Nothing before API 1.`since`, in which nobody reads it.
Result<std::optional<oci::Platform>> PlatformParameter(const Call& call, int since);
// `name` may come more than once.
Result<std::vector<oci::Platform>> PlatformParameters(const Call& call, std::string_view name,
                                                      int since);

}  // namespace gantry::engine::api
