// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/suggest.h"

#include <algorithm>

#include "base/edit_distance.h"

namespace gantry::cli {
namespace {

constexpr size_t kLongestWord = 64;

}  // namespace

std::string Suggest(std::string_view typed, const std::vector<std::string>& words) {
  if (typed.empty() || typed.size() > kLongestWord) return "";
  size_t nearest = std::max<size_t>(1, typed.size() / 3) + 1;
  std::string best;
  for (const std::string& word : words) {
    size_t distance = EditDistance(typed, word);
    if (distance < nearest) {
      nearest = distance;
      best = word;
    }
  }
  return best;
}

}  // namespace gantry::cli
