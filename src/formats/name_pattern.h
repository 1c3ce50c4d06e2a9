// SPDX-License-Identifier: Apache-2.0
//
// Regular expressions as users write them in `--filter name=…` (Go's regexp/syntax, RE2), searched
// for anywhere in a name. Of Go's syntax, what POSIX's extended expressions have (regex(7)) and
// \d \D \w \W \s \S \b, "(?:…)" and a leading "(?i)"; the rest, and what would take the engine's
// memory, is as if it were not a pattern at all. Pure; any thread.
#pragma once

#include <memory>
#include <string_view>

namespace gantry::formats {

class NamePattern {
 public:
  // Matches nothing when the text is no pattern.
  explicit NamePattern(std::string_view text);

  bool IsFoundIn(std::string_view name) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace gantry::formats
