// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/config_file.h"

#include <algorithm>

#include "base/io.h"
#include "wire/masked_url.h"

namespace gantry::gantryd {
namespace {

using formats::Json;

constexpr std::string_view kSpaces = " \t\r\n";

const OptionRow* RowOfKey(std::string_view key) {
  for (const OptionRow& row : OptionTable()) {
    if (row.key == key) return &row;
  }
  return nullptr;
}

// A value as Go prints it, which is how dockerd names both sides of a conflict.
std::string GoText(const Json& value) {
  if (value.is_string()) return value.AsString();
  std::string out;
  if (value.is_array()) {
    for (const Json& item : value.items()) out += (out.empty() ? "" : " ") + GoText(item);
    return "[" + out + "]";
  }
  if (value.is_object()) {
    std::map<std::string, std::string> sorted;
    for (const auto& [name, item] : value.members()) sorted[name] = GoText(item);
    for (const auto& [name, item] : sorted) out += (out.empty() ? "" : " ") + name + ":" + item;
    return "map[" + out + "]";
  }
  return value.is_null() ? "<nil>" : value.Dump();
}

std::string FlagText(const OptionRow& row, const FlagValues& flags) {
  std::string out;
  for (const auto& [given, value] : flags) {
    if (given != &row) continue;
    if (row.kind != Kind::kList && row.kind != Kind::kMap) {
      out = value;
    } else {
      out += (out.empty() ? "" : " ") + value;
    }
  }
  if (row.kind == Kind::kList) return "[" + out + "]";
  if (row.kind != Kind::kMap) return out;
  std::replace(out.begin(), out.end(), '=', ':');
  return "map[" + out + "]";
}

std::string_view JsonTypeName(const Json& value) {
  if (value.is_string()) return "string";
  if (value.is_bool()) return "bool";
  if (value.is_number()) return "number";
  return value.is_array() ? "array" : "object";
}

std::string_view GoTypeName(Kind kind) {
  switch (kind) {
    case Kind::kSwitch:
      return "bool";
    case Kind::kNumber:
      return "int";
    case Kind::kList:
      return "[]string";
    case Kind::kMap:
      return "map[string]string";
    case Kind::kText:
      return "string";
  }
  return "";
}

bool HasKind(const Json& value, Kind kind) {
  switch (kind) {
    case Kind::kSwitch:
      return value.is_bool();
    case Kind::kNumber:
      return value.is_integer();
    case Kind::kList:
      return value.is_array();
    case Kind::kMap:
      return value.is_object();
    case Kind::kText:
      // Sizes may be numbers: "default-shm-size".
      return value.is_string() || value.is_integer();
  }
  return false;
}

Error WrongType(const OptionRow& row, const Json& value) {
  return InvalidArgument("json: cannot unmarshal {} into Go struct field Config.{} of type {}",
                         JsonTypeName(value), row.key, GoTypeName(row.kind));
}

std::string Text(const Json& value) { return value.is_string() ? value.AsString() : value.Dump(); }

Result<> CheckKnown(const std::map<std::string, Json, std::less<>>& values) {
  std::string unknown;
  for (const auto& [key, value] : values) {
    if (RowOfKey(key) == nullptr) unknown += (unknown.empty() ? "" : ", ") + key;
  }
  if (unknown.empty()) return {};
  return InvalidArgument("the following directives don't match any configuration option: {}",
                         unknown);
}

Result<> CheckConflicts(const std::map<std::string, Json, std::less<>>& values,
                        const FlagValues& flags) {
  std::map<std::string_view, std::string> conflicts;  // by flag, as dockerd sorts them
  for (const auto& [row, text] : flags) {
    auto found = values.find(row->key);
    if (row->key.empty() || found == values.end()) continue;
    std::string from_flag = FlagText(*row, flags);
    std::string from_file = GoText(found->second);
    // Proxies may hold passwords.
    if (row->key.ends_with("-proxy")) {
      from_flag = wire::MaskCredentials(from_flag);
      from_file = wire::MaskCredentials(from_file);
    }
    conflicts[row->flag] =
        fmt::format("{}: (from flag: {}, from file: {})", row->key, from_flag, from_file);
  }
  if (conflicts.empty()) return {};
  std::string all;
  for (const auto& [flag, text] : conflicts) all += (all.empty() ? "" : ", ") + text;
  return InvalidArgument(
      "the following directives are specified both as a flag and in the configuration file: {}",
      all);
}

}  // namespace

Result<ConfigFile> ConfigFile::Read(const Options& options, const FlagValues& flags) {
  ConfigFile out;
  const std::string& path = options.config_file;
  auto read = [&]() -> Result<> {
    if (!PathExists(path)) {
      if (!options.config_file_given) return {};
      return InvalidArgument("open {}: no such file or directory", path);
    }
    std::string text = TRY(ReadFile(path));
    // An editor's byte order mark.
    if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
    if (text.find_first_not_of(kSpaces) == std::string::npos) return {};
    Json json = TRY(Json::Parse(text));
    if (!json.is_object()) {
      return InvalidArgument(
          "json: cannot unmarshal {} into Go value of type map[string]interface "
          "{{}}",
          JsonTypeName(json));
    }
    for (const auto& [key, value] : json.members()) {
      if (value.is_null()) continue;
      if (key != "proxies") {
        out.values_[key] = value;
        continue;
      }
      // {"proxies": {"http-proxy": …}} says the same as the flags.
      for (const auto& [name, inner] : value.members()) out.values_[name] = inner;
    }
    TRY(CheckKnown(out.values_));
    return CheckConflicts(out.values_, flags);
  };
  TRY_WITH(read(), "unable to configure the Docker daemon with file {}", path);
  return out;
}

bool ConfigFile::Sets(const OptionRow& row) const { return values_.contains(row.key); }

Result<> ConfigFile::Apply(const OptionRow& row, Options* options) const {
  auto found = values_.find(row.key);
  if (found == values_.end()) return {};
  const Json& value = found->second;
  auto apply = [&]() -> Result<> {
    if (row.take_json && row.kind == Kind::kMap) {
      if (!value.is_object()) return WrongType(row, value);
      return row.take_json(options, value);
    }
    if (!HasKind(value, row.kind)) return WrongType(row, value);
    if (row.take_json) return row.take_json(options, value);
    if (row.kind == Kind::kList) {
      for (const Json& item : value.items()) {
        if (!item.is_string()) return WrongType(row, item);
        TRY(row.take(options, item.AsString()));
      }
      return {};
    }
    if (row.kind == Kind::kMap) {
      for (const auto& [name, item] : value.members()) {
        if (!item.is_string()) return WrongType(row, item);
        TRY(row.take(options, name + "=" + item.AsString()));
      }
      return {};
    }
    return row.take(options, Text(value));
  };
  TRY_WITH(apply(), "unable to configure the Docker daemon with file {}", options->config_file);
  return {};
}

}  // namespace gantry::gantryd
