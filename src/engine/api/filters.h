// SPDX-License-Identifier: Apache-2.0
//
// The `filters` parameter of lists, prunes and events: {"label": {"a=b": true}} or, from old
// clients, {"label": ["a=b"]}. Pure; any thread.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/name_pattern.h"

namespace gantry::engine::api {

class Filters {
 public:
  // "" is no filter. Errors in docker's words.
  static Result<Filters> Parse(std::string_view json);
  // kInvalidArgument: "invalid filter 'x'" for a key that is not among these.
  Result<> CheckKeys(std::initializer_list<std::string_view> known) const;

  bool empty() const { return values_.empty(); }
  bool Has(std::string_view key) const { return !Values(key).empty(); }
  const std::vector<std::string>& Values(std::string_view key) const;

  // All three: true when there is no filter of that key.
  bool MatchExact(std::string_view key, std::string_view value) const;
  // The value is one of the filter's values, or one of them is a regular expression that is found
  // in it (formats/name_pattern.h).
  bool MatchName(std::string_view value) const;
  // Every "name" or "name=value" of the filter is among the labels.
  bool MatchLabels(std::string_view key, const std::map<std::string, std::string>& labels) const;
  // The value begins with one of the filter's values.
  bool MatchPrefix(std::string_view key, std::string_view value) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
  std::vector<formats::NamePattern> name_patterns_;  // of the values of "name"
};

}  // namespace gantry::engine::api
