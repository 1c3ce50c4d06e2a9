// SPDX-License-Identifier: Apache-2.0
//
// Names of signals as users write them. Pure; any thread.
#pragma once

#include <string_view>

#include "base/error.h"

namespace gantry::engine {

// "KILL", "SIGKILL", "sigkill", "9", "RTMIN+3"; kInvalidArgument: "Invalid signal: X".
Result<int> ParseSignal(std::string_view text);

}  // namespace gantry::engine
