// SPDX-License-Identifier: Apache-2.0
//
// How far two words are from each other, for whoever guesses what was meant. Pure; any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace gantry {

// Letters to insert, leave out, replace or swap with their neighbour to come from one to the other.
size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace gantry
