// SPDX-License-Identifier: Apache-2.0
//
// Numbers in text. Pure; any thread.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace gantry {

// All of `text` as a whole number of that type, in digits of `base`, with a '-' where the type has
// signs: nothing when it is anything else, or out of the type's range.
template <typename Number>
std::optional<Number> ParseNumber(std::string_view text, int base = 10) {
  Number number{};
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, number, base);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace gantry
