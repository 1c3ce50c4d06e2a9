// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/table.h"

#include <algorithm>

namespace gantry::cli {

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Table::Format() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      widths[i] = std::max(widths[i], CountCharacters(row[i]) + layout_.padding);
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      out.append(row[i]);
      if (i + 1 == row.size()) break;
      size_t width = std::max(widths[i], layout_.minimum_width);
      out.append(width - CountCharacters(row[i]), ' ');
    }
    out.push_back('\n');
  }
  return out;
}

bool NaturallyLess(std::string_view a, std::string_view b) {
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  auto take_number = [&](std::string_view* text) {
    while (text->size() > 1 && (*text)[0] == '0' && digit((*text)[1])) text->remove_prefix(1);
    size_t end = 0;
    while (end < text->size() && digit((*text)[end])) ++end;
    std::string_view number = text->substr(0, end);
    text->remove_prefix(end);
    return number;
  };
  while (!a.empty() && !b.empty()) {
    if (digit(a[0]) && digit(b[0])) {
      std::string_view x = take_number(&a);
      std::string_view y = take_number(&b);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
      continue;
    }
    if (a[0] != b[0]) return a[0] < b[0];
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return a.size() < b.size();
}

}  // namespace gantry::cli
