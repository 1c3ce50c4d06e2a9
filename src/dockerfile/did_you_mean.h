// SPDX-License-Identifier: Apache-2.0
//
// What somebody who mistyped a name may have meant, as the end of a message. Pure; any thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "base/edit_distance.h"
#include "base/error.h"

namespace gantry::dockerfile {

// A name that is further away than this is no slip of the keyboard.
inline constexpr size_t kNear = 2;
// What a hostile file may cost: names that are compared with a mistyped one.
inline constexpr size_t kMostNames = 1000;

// " (did you mean NAME?)" with the nearest of the names; "" when none is near, or the name is one
// of them: then it is not what is wrong.
template <typename Names>
std::string DidYouMean(std::string_view name, const Names& names, std::string_view prefix = "") {
  size_t nearest = kNear + 1;
  std::string_view best;
  size_t looked_at = 0;
  for (std::string_view one : names) {
    if (++looked_at > kMostNames) break;
    if (std::max(one.size(), name.size()) - std::min(one.size(), name.size()) > kNear) continue;
    size_t distance = EditDistance(name, one);
    if (distance == 0) return "";
    if (distance >= nearest) continue;
    nearest = distance;
    best = one;
  }
  return best.empty() ? "" : fmt::format(" (did you mean {}{}?)", prefix, best);
}

}  // namespace gantry::dockerfile
