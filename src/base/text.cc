// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <algorithm>

namespace gantry {

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> SplitWords(std::string_view text, std::string_view separators,
                                    size_t at_most) {
  std::vector<std::string> words;
  for (;;) {
    size_t begin = text.find_first_not_of(separators);
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    if (words.size() + 1 == at_most) {
      words.emplace_back(text);
      return words;
    }
    size_t end = std::min(text.find_first_of(separators), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

}  // namespace gantry
