// SPDX-License-Identifier: Apache-2.0
//
// The word that somebody who mistyped may have meant. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::cli {

// The nearest of `words`; "" when none is near: one letter in three may be wrong.
std::string Suggest(std::string_view typed, const std::vector<std::string>& words);

}  // namespace gantry::cli
