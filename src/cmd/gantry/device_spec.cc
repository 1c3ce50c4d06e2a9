// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/device_spec.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "cmd/gantry/flags.h"
#include "cmd/gantry/mount_spec.h"

namespace gantry::cli {

using formats::Json;

namespace {

bool IsMode(std::string_view mode) {
  if (mode.empty()) return false;
  for (size_t i = 0; i < mode.size(); ++i) {
    if (std::string_view("rwm").find(mode[i]) == std::string_view::npos) return false;
    if (mode.find(mode[i], i + 1) != std::string_view::npos) return false;
  }
  return true;
}

bool IsWord(std::string_view text, std::string_view also) {
  if (text.empty()) return false;
  auto alphanumeric = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return alphanumeric(text.front()) && alphanumeric(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return alphanumeric(c) || also.find(c) != std::string_view::npos;
         });
}

bool IsNumber(std::string_view text) {
  return text == "*" || (!text.empty() && std::all_of(text.begin(), text.end(),
                                                      [](char c) { return c >= '0' && c <= '9'; }));
}

Result<int64_t> ParseCount(const std::string& text) {
  if (text == "all") return int64_t{-1};
  Result<int64_t> count = ParseInteger(text);
  if (count.ok()) return count;
  return InvalidArgument(
      "invalid count ({}): value must be either \"all\" or an integer: invalid syntax", text);
}

Json ToObject(const std::vector<std::string>& pairs) {
  Json object = Json::MakeObject();
  for (const std::string& pair : pairs) {
    size_t equals = pair.find('=');
    object.Set(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
  }
  return object;
}

}  // namespace

Result<Json> ParseDevice(const std::string& text) {
  std::vector<std::string> parts = Split(text, ':');
  if (parts.size() > 3 || parts[0].empty()) {
    return InvalidArgument("bad format for path: {}", text);
  }
  std::string host = parts[0];
  std::string inside = host;
  std::string mode = "rwm";
  if (parts.size() == 3 && !IsMode(parts[2])) {
    return InvalidArgument("bad mode specified: {}", parts[2]);
  }
  if (parts.size() == 2 && IsMode(parts[1])) {
    mode = parts[1];
  } else if (parts.size() >= 2) {
    inside = parts[1];
  }
  if (parts.size() == 3) mode = parts[2];
  if (inside.empty() || inside[0] != '/') {
    return InvalidArgument("{} is not an absolute path", inside);
  }
  if (parts.size() < 3) {
    if (inside == host) host = CleanPath(host);
    inside = CleanPath(inside);
  }
  return Json::MakeObject(
      {{"PathOnHost", host}, {"PathInContainer", inside}, {"CgroupPermissions", mode}});
}

bool IsCdiName(const std::string& text) {
  size_t slash = text.find('/');
  size_t equals = text.find('=');
  if (slash == std::string::npos || equals == std::string::npos || slash > equals) return false;
  std::string_view view(text);
  auto kind = [](std::string_view word) {
    return IsWord(word, "_-.") && std::isalpha(static_cast<unsigned char>(word[0])) != 0;
  };
  return kind(view.substr(0, slash)) && kind(view.substr(slash + 1, equals - slash - 1)) &&
         IsWord(view.substr(equals + 1), "_-.:");
}

Result<> CheckDeviceRule(const std::string& text) {
  std::vector<std::string> words = Split(text, ' ');
  size_t colon = words.size() == 3 ? words[1].find(':') : std::string::npos;
  bool fits = colon != std::string::npos && words[0].size() == 1 &&
              std::string_view("acb").find(words[0][0]) != std::string_view::npos &&
              IsNumber(std::string_view(words[1]).substr(0, colon)) &&
              IsNumber(std::string_view(words[1]).substr(colon + 1)) && !words[2].empty() &&
              words[2].size() <= 3 && words[2].find_first_not_of("rwm") == std::string::npos;
  if (fits) return {};
  return InvalidArgument("invalid device cgroup format '{}'", text);
}

Result<Json> ParseGpus(const std::string& text) {
  int64_t count = 0;
  std::string driver;
  std::vector<std::string> devices;
  std::vector<std::string> capabilities = {"gpu"};
  Json options = Json::MakeObject();
  std::set<std::string> seen;
  for (const std::string& field : TRY(SplitCsv(text))) {
    size_t equals = field.find('=');
    std::string key = field.substr(0, equals);
    if (!seen.insert(key).second) {
      return InvalidArgument("gpu request key '{}' can be specified only once", key);
    }
    if (equals == std::string::npos) {
      seen.insert("count");
      count = TRY(ParseCount(key));
      continue;
    }
    std::string value = field.substr(equals + 1);
    if (key == "driver") {
      driver = value;
    } else if (key == "count") {
      count = TRY(ParseCount(value));
    } else if (key == "device") {
      devices = Split(value, ',');
    } else if (key == "capabilities") {
      capabilities = Split(value, ',');
      capabilities.emplace_back("gpu");
    } else if (key == "options") {
      options = ToObject(TRY_WITH(SplitCsv(value), "failed to read gpu options"));
    } else {
      return InvalidArgument("unexpected key '{}' in '{}'", key, field);
    }
  }
  if (!seen.contains("count") && devices.empty()) count = 1;
  return Json::MakeObject({{"Driver", driver},
                           {"Count", count},
                           {"DeviceIDs", devices.empty() ? Json() : Json(devices)},
                           {"Capabilities", Json::MakeArray({Json(capabilities)})},
                           {"Options", options}});
}

}  // namespace gantry::cli
