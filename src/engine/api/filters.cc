// SPDX-License-Identifier: Apache-2.0
#include "engine/api/filters.h"

#include <algorithm>

#include "formats/json.h"

namespace gantry::engine::api {

using formats::Json;

Result<Filters> Filters::Parse(std::string_view text) {
  Filters filters;
  if (text.empty()) return filters;
  Result<Json> json = Json::Parse(text);
  if (!json.ok() || !(json->is_object() || json->is_null())) {
    return InvalidArgument("invalid filter: '{}' is no JSON object", text);
  }
  for (const auto& [key, values] : json->members()) {
    std::vector<std::string>& out = filters.values_[key];
    if (values.is_object()) {
      for (const auto& [value, wanted] : values.members()) {
        if (wanted.AsBool()) out.push_back(value);
      }
    } else if (values.is_array()) {
      for (const Json& value : values.items()) {
        if (!value.is_string()) return InvalidArgument("invalid filter '{}'", key);
        out.push_back(value.AsString());
      }
    } else {
      return InvalidArgument("invalid filter '{}'", key);
    }
  }
  for (const std::string& name : filters.Values("name")) filters.name_patterns_.emplace_back(name);
  return filters;
}

Result<> Filters::CheckKeys(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, values] : values_) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return InvalidArgument("invalid filter '{}'", key);
    }
  }
  return {};
}

const std::vector<std::string>& Filters::Values(std::string_view key) const {
  static const std::vector<std::string> kNone;
  auto found = values_.find(key);
  return found == values_.end() ? kNone : found->second;
}

bool Filters::MatchExact(std::string_view key, std::string_view value) const {
  const auto& wanted = Values(key);
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), value) != wanted.end();
}

bool Filters::MatchPrefix(std::string_view key, std::string_view value) const {
  const auto& wanted = Values(key);
  return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const auto& prefix) {
           return value.starts_with(prefix);
         });
}

bool Filters::MatchName(std::string_view value) const {
  const auto& wanted = Values("name");
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), value) != wanted.end() ||
         std::any_of(name_patterns_.begin(), name_patterns_.end(),
                     [&](const auto& pattern) { return pattern.IsFoundIn(value); });
}

bool Filters::MatchLabels(std::string_view key,
                          const std::map<std::string, std::string>& labels) const {
  const auto& wanted = Values(key);
  return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& label) {
    size_t equals = label.find('=');
    auto found = labels.find(label.substr(0, equals));
    if (found == labels.end()) return false;
    return equals == std::string::npos || found->second == label.substr(equals + 1);
  });
}

}  // namespace gantry::engine::api
