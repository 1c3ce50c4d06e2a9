// SPDX-License-Identifier: Apache-2.0
//
// Text in aligned columns, as ps, images and top show it. Widths count characters, not bytes. Pure;
// any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::cli {

class Table {
 public:
  struct Layout {
    size_t minimum_width = 10;  // of a column with its padding; docker's tables have 10, top has 20
    size_t padding = 3;         // blanks behind the widest cell
  };

  explicit Table(Layout layout) : layout_(layout) {}
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // The last cell of a row is not padded.
  std::string Format() const;

 private:
  Layout layout_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters of UTF-8 text.
size_t CountCharacters(std::string_view text);
// Runs of digits compare as numbers: "9/tcp" < "80/tcp".
bool NaturallyLess(std::string_view a, std::string_view b);

}  // namespace gantry::cli
