// SPDX-License-Identifier: Apache-2.0
//
// Names of containers: the rule, and made-up ones. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::engine {

// [a-zA-Z0-9][a-zA-Z0-9_.-]+, in docker's words otherwise.
Result<> CheckContainerName(std::string_view name);
// What it then says.
std::string BadContainerName(std::string_view name);

// "quiet_crane"; from the tenth attempt on with a number behind it.
std::string RandomContainerName(int attempt);

}  // namespace gantry::engine
