// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/value_spec.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>

#include "base/io.h"
#include "cmd/gantry/flags.h"
#include "formats/human_units.h"

namespace gantry::cli {

using formats::Json;

Result<std::string> ParseVariable(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == 0 || text.empty()) return InvalidArgument("invalid environment variable: {}", text);
  if (equals != std::string::npos) return text;
  // A name without a value takes the variable out of the image's environment.
  const char* value = std::getenv(text.c_str());
  return value != nullptr ? text + "=" + value : text;
}

Result<std::vector<std::string>> ReadPairsFile(const std::string& path, bool from_environment) {
  std::string text = TRY(ReadFile(path));
  std::vector<std::string> pairs;
  std::string_view rest = text;
  if (rest.substr(0, 3) == "\xEF\xBB\xBF") rest.remove_prefix(3);
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    size_t begin = line.find_first_not_of(" \t\v\f\r");
    if (begin == std::string_view::npos) continue;
    line.remove_prefix(begin);
    if (line[0] == '#') continue;
    size_t equals = line.find('=');
    std::string_view name = line.substr(0, equals);
    if (name.empty()) {
      return InvalidArgument("invalid env file ({}): no variable name on line '{}'", path, line);
    }
    if (name.find_first_of(" \t") != std::string_view::npos) {
      return InvalidArgument("invalid env file ({}): variable '{}' contains whitespaces", path,
                             name);
    }
    if (equals != std::string_view::npos) {
      pairs.emplace_back(line);
    } else if (!from_environment) {
      continue;
    } else if (const char* value = std::getenv(std::string(name).c_str())) {
      pairs.push_back(fmt::format("{}={}", name, value));
    }
  }
  return pairs;
}

Result<Json> ParseUlimit(const std::string& text) {
  static constexpr std::string_view kTypes[] = {
      "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
      "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
  size_t equals = text.find('=');
  if (equals == std::string::npos) return InvalidArgument("invalid ulimit argument: {}", text);
  std::string name = text.substr(0, equals);
  if (std::find(std::begin(kTypes), std::end(kTypes), name) == std::end(kTypes)) {
    return InvalidArgument("invalid ulimit type: {}", name);
  }
  std::string limits = text.substr(equals + 1);
  size_t colon = limits.find(':');
  int64_t soft = TRY(ParseInteger(limits.substr(0, colon)));
  int64_t hard = soft;
  if (colon != std::string::npos) {
    hard = TRY(ParseInteger(limits.substr(colon + 1)));
    if (hard != -1 && (soft == -1 || soft > hard)) {
      return InvalidArgument("ulimit soft limit must be less than or equal to hard limit: {} > {}",
                             soft, hard);
    }
  }
  return Json::MakeObject({{"Name", name}, {"Hard", hard}, {"Soft", soft}});
}

Result<int64_t> ParseCpus(const std::string& text) {
  size_t point = text.find('.');
  std::string whole = text.substr(0, point);
  std::string fraction = point == std::string::npos ? "" : text.substr(point + 1);
  auto digits = [](const std::string& part) {
    return part.find_first_not_of("0123456789") == std::string::npos;
  };
  if ((whole.empty() && fraction.empty()) || !digits(whole) || !digits(fraction) ||
      whole.size() > 9) {
    return InvalidArgument("failed to parse {} as a rational number", text);
  }
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  if (fraction.size() > 9) return InvalidArgument("value is too precise");
  fraction.resize(9, '0');
  return TRY(ParseInteger(whole.empty() ? "0" : whole)) * 1'000'000'000 +
         TRY(ParseInteger(fraction));
}

Result<Json> ParseDevice(const std::string& text) {
  auto is_mode = [](const std::string& mode) {
    if (mode.empty()) return false;
    for (size_t i = 0; i < mode.size(); ++i) {
      if (std::string_view("rwm").find(mode[i]) == std::string_view::npos) return false;
      if (mode.find(mode[i], i + 1) != std::string::npos) return false;
    }
    return true;
  };
  size_t first = text.find(':');
  std::string host = text.substr(0, first);
  std::string inside;
  std::string mode = "rwm";
  if (first != std::string::npos) {
    size_t second = text.find(':', first + 1);
    std::string middle =
        text.substr(first + 1, second == std::string::npos ? second : second - first - 1);
    if (second != std::string::npos) {
      inside = middle;
      mode = text.substr(second + 1);
      if (!is_mode(mode)) return InvalidArgument("bad mode specified: {}", mode);
    } else if (is_mode(middle)) {
      mode = middle;
    } else {
      inside = middle;
    }
  }
  if (host.empty()) return InvalidArgument("invalid device specification: {}", text);
  if (inside.empty()) inside = host;
  if (inside[0] != '/') return InvalidArgument("{} is not an absolute path", inside);
  return Json::MakeObject(
      {{"PathOnHost", host}, {"PathInContainer", inside}, {"CgroupPermissions", mode}});
}

Result<Json> ParseRestartPolicy(const std::string& text) {
  size_t colon = text.find(':');
  std::string name = text.substr(0, colon);
  int64_t retries = 0;
  if (colon != std::string::npos) {
    Result<int64_t> count = ParseInteger(text.substr(colon + 1));
    if (!count.ok()) {
      return InvalidArgument(
          "invalid restart policy format: maximum retry count must be an integer");
    }
    retries = *count;
  }
  return Json::MakeObject({{"Name", name}, {"MaximumRetryCount", retries}});
}

Result<std::string> ParseExtraHost(const std::string& text) {
  size_t separator = text.find('=');
  if (separator == std::string::npos) separator = text.find(':');
  if (separator == std::string::npos || separator == 0) {
    return InvalidArgument("bad format for add-host: \"{}\"", text);
  }
  std::string name = text.substr(0, separator);
  std::string ip = text.substr(separator + 1);
  if (ip.size() > 2 && ip.front() == '[' && ip.back() == ']') ip = ip.substr(1, ip.size() - 2);
  unsigned char buffer[16];
  if (ip != "host-gateway" && ::inet_pton(AF_INET, ip.c_str(), buffer) != 1 &&
      ::inet_pton(AF_INET6, ip.c_str(), buffer) != 1) {
    return InvalidArgument("invalid IP address in add-host: \"{}\"", ip);
  }
  return name + ":" + ip;
}

Result<Json> ParseThrottle(const std::string& text, bool rate_is_size) {
  size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0) return InvalidArgument("bad format: {}", text);
  std::string path = text.substr(0, colon);
  if (path.substr(0, 5) != "/dev/") {
    return InvalidArgument("bad format for device path: {}", text);
  }
  std::string rate = text.substr(colon + 1);
  Result<int64_t> value = rate_is_size ? formats::ParseBinarySize(rate) : ParseInteger(rate);
  if (!value.ok() || *value < 0) return InvalidArgument("invalid rate for device: {}", text);
  return Json::MakeObject({{"Path", path}, {"Rate", *value}});
}

}  // namespace gantry::cli
