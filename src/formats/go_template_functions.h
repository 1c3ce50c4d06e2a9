// SPDX-License-Identifier: Apache-2.0
//
// The functions of go_template.h. Pure; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::formats {

bool IsGoTemplateFunction(std::string_view name);
// Errors read "error calling NAME: …" or "wrong number of args for NAME: …".
Result<Json> CallGoTemplateFunction(std::string_view name, const std::vector<Json>& args);
// Go's truth: not empty, not zero, not null.
bool IsGoTrue(const Json& value);

}  // namespace gantry::formats
