// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/source_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace gantry::dockerfile {

std::string SourceText(const std::string& name, const std::vector<std::string>& lines, int first,
                       int last) {
  auto count = static_cast<int>(lines.size());
  if (first < 1 || first > count) return "";
  last = std::min(std::max(first, last), count);
  // One line gets more around it than several.
  int around = first == last ? 2 : 1;
  constexpr const char* kBar = "--------------------\n";
  std::string out = fmt::format("{}:{}\n{}", name, first, kBar);
  for (int i = std::max(1, first - around); i <= std::min(count, last + around); ++i) {
    bool meant = i >= first && i <= last;
    out +=
        fmt::format(" {:3} | {} {}\n", i, meant ? ">>>" : "   ", lines[static_cast<size_t>(i) - 1]);
  }
  return out + kBar;
}

std::string ColumnText(const std::vector<std::vector<std::string>>& rows, size_t gap) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + gap, ' ');
    }
    out += '\n';
  }
  return out;
}

}  // namespace gantry::dockerfile
