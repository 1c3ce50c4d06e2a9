// SPDX-License-Identifier: Apache-2.0
//
// Text cut into parts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry {

// What is between the separators, the empty parts too: at least one.
std::vector<std::string> Split(std::string_view text, char separator);

// The parts between runs of any of `separators`, none of them empty. The last of `at_most` parts is
// the whole rest.
std::vector<std::string> SplitWords(std::string_view text, std::string_view separators = " \t",
                                    size_t at_most = SIZE_MAX);

}  // namespace gantry
