// SPDX-License-Identifier: Apache-2.0
//
// containerd's filter language, which List calls and event subscriptions take:
//
//   filter    = selector ("," selector)*            every selector must match
//   selector  = path [operator value]               a path alone: the field is present
//   path      = part ("." part)*                    part: word or quoted ("…", |…|, /…/)
//   operator  = "==" | "!=" | "~="                  ~= is a regular expression (RE2), unanchored
//   value     = word | quoted               "/x" needs quotes: | and / quote patterns only
//
// A list of filters matches when any of them does; an empty list matches everything. Plain data,
// any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::containerd {

using FieldPath = std::vector<std::string>;
// The field's value, or nothing when the object does not have it.
using FieldLookup = std::function<std::optional<std::string>(const FieldPath& path)>;

class Filters {
 public:
  Filters() = default;  // matches everything
  // kInvalidArgument says at which character.
  static Result<Filters> Parse(const std::vector<std::string>& texts);
  template <typename Texts>
  static Result<Filters> ParseAll(const Texts& texts) {
    return Parse(std::vector<std::string>(texts.begin(), texts.end()));
  }

  bool Matches(const FieldLookup& lookup) const;
  bool empty() const { return alternatives_.empty(); }

 private:
  enum class Operator { kPresent, kEqual, kNotEqual, kMatches };
  struct Pattern;
  struct Selector {
    FieldPath path;
    Operator op = Operator::kPresent;
    std::string value;
    std::shared_ptr<const Pattern> pattern;
  };
  class Parser;

  static bool Matches(const Selector& selector, const FieldLookup& lookup);

  std::vector<std::vector<Selector>> alternatives_;
};

// "a" or nothing when empty, as containerd treats unset strings.
std::optional<std::string> FieldOf(std::string_view value);
// The label that the rest of the path (from `first` on, joined by dots) names.
template <typename Map>
std::optional<std::string> LabelOf(const FieldPath& path, size_t first, const Map& labels) {
  std::string key;
  for (size_t i = first; i < path.size(); ++i) {
    if (i > first) key += '.';
    key += path[i];
  }
  auto found = labels.find(key);
  if (found == labels.end()) return std::nullopt;
  return found->second;
}

}  // namespace gantry::containerd
