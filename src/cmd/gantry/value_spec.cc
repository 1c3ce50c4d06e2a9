// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/value_spec.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/io.h"
#include "base/number.h"
#include "base/text.h"
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
  Result<std::string> read = ReadFile(path);
  if (!read.ok()) return ErrnoErrorOf(read.error().error_number(), "open " + path);
  const std::string& text = *read;
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
  if (colon != std::string::npos && limits.find(':', colon + 1) != std::string::npos) {
    return InvalidArgument(
        "too many limit value arguments - {}, can only have up to two, `soft[:hard]`", limits);
  }
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

namespace {

// tc(8), "RATES"; without case.
constexpr std::pair<std::string_view, int64_t> kRateUnits[] = {
    {"", 1},
    {"bit", 1},
    {"kbit", 1'000},
    {"mbit", 1'000'000},
    {"gbit", 1'000'000'000},
    {"kibit", int64_t{1} << 10},
    {"mibit", int64_t{1} << 20},
    {"gibit", int64_t{1} << 30},
    {"bps", 8},
    {"kbps", 8'000},
    {"mbps", 8'000'000},
    {"gbps", 8'000'000'000},
    {"kibps", int64_t{8} << 10},
    {"mibps", int64_t{8} << 20},
    {"gibps", int64_t{8} << 30},
};
constexpr double kMaxRate = 1e15;

}  // namespace

Result<int64_t> ParseBitRate(const std::string& text) {
  size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  std::string number = text.substr(0, end);
  bool fine = number.find_first_of("0123456789") != std::string::npos &&
              std::count(number.begin(), number.end(), '.') <= 1;
  std::string wanted = Lower(std::string_view(text).substr(end));
  for (const auto& [unit, factor] : kRateUnits) {
    if (!fine || unit != wanted) continue;
    double rate = std::strtod(number.c_str(), nullptr) * static_cast<double>(factor);
    if (rate > kMaxRate) break;
    return static_cast<int64_t>(std::llround(rate));
  }
  return InvalidArgument(
      "invalid rate '{}': a number with bit, kbit, mbit, gbit (bits per second), or bps, kbps, "
      "mbps, gbps (bytes per second)",
      text);
}

Result<int64_t> ParseNetClass(const std::string& text) {
  size_t colon = text.find(':');
  if (colon != std::string::npos) {
    auto major = ParseNumber<uint16_t>(std::string_view(text).substr(0, colon), 16);
    auto minor = ParseNumber<uint16_t>(std::string_view(text).substr(colon + 1), 16);
    if (major && minor && (*major | *minor) != 0) return int64_t{*major} << 16 | *minor;
  }
  return InvalidArgument("invalid class '{}': MAJOR:MINOR, two hexadecimal numbers as in 10:1",
                         text);
}

Result<Json> ParseNetPriority(const std::string& text) {
  size_t equals = text.rfind('=');
  if (equals != std::string::npos && equals > 0) {
    auto priority = ParseNumber<uint32_t>(std::string_view(text).substr(equals + 1));
    if (priority) {
      return Json::MakeObject(
          {{"Name", text.substr(0, equals)}, {"Priority", static_cast<int64_t>(*priority)}});
    }
  }
  return InvalidArgument("invalid priority '{}': INTERFACE=NUMBER, as in eth0=5", text);
}

Result<Json> ParseRestartPolicy(const std::string& text) {
  size_t colon = text.find(':');
  std::string name = text.substr(0, colon);
  if (colon == 0) {
    return InvalidArgument("invalid restart policy format: no policy provided before colon");
  }
  int64_t retries = 0;
  if (colon != std::string::npos && colon + 1 < text.size()) {
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
  if (!value.ok() || *value < 0) {
    return InvalidArgument(
        "invalid rate for device: {}. The correct format is <device-path>:<number>{}. Number must "
        "be a positive integer{}",
        text, rate_is_size ? "[<unit>]" : "",
        rate_is_size ? ". Unit is optional and can be kb, mb, or gb" : "");
  }
  return Json::MakeObject({{"Path", path}, {"Rate", *value}});
}

Result<Json> ParseWeight(const std::string& text) {
  size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0) return InvalidArgument("bad format: {}", text);
  std::string path = text.substr(0, colon);
  if (!path.starts_with("/dev/")) return InvalidArgument("bad format for device path: {}", text);
  Result<int64_t> weight = ParseInteger(text.substr(colon + 1));
  bool fits = weight.ok() && (*weight == 0 || (*weight >= 10 && *weight <= 1000));
  if (!fits) return InvalidArgument("invalid weight for device: {}", text);
  return Json::MakeObject({{"Path", path}, {"Weight", *weight}});
}

Result<> CheckLabel(const std::string& text) {
  std::string key = text.substr(0, text.find('='));
  key.erase(0, key.find_first_not_of(" \t"));
  if (key.empty()) return InvalidArgument("invalid label '{}': empty name", text);
  if (key.find_first_of(" \t") != std::string::npos) {
    return InvalidArgument("label '{}' contains whitespaces", key);
  }
  return {};
}

Result<> CheckSysctl(const std::string& text) {
  static constexpr std::string_view kNames[] = {
      "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
      "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
  size_t equals = text.find('=');
  std::string_view name = std::string_view(text).substr(0, equals);
  bool known = std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) ||
               name.starts_with("net.") || name.starts_with("fs.mqueue.");
  if (equals != std::string::npos && known) return {};
  return InvalidArgument("sysctl '{}' is not allowed", text);
}

Result<> CheckStream(const std::string& text) {
  std::string name = text;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (name == "stdin" || name == "stdout" || name == "stderr") return {};
  return InvalidArgument("valid streams are STDIN, STDOUT and STDERR");
}

Result<> CheckAddress(const std::string& text) {
  unsigned char buffer[sizeof(in6_addr)];
  if (::inet_pton(AF_INET, text.c_str(), buffer) == 1 ||
      ::inet_pton(AF_INET6, text.c_str(), buffer) == 1) {
    return {};
  }
  return InvalidArgument("IP address is not correctly formatted: {}", text);
}

}  // namespace gantry::cli
