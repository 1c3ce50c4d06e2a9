// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/option_values.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/text.h"

namespace gantry::gantryd {
namespace {

constexpr std::string_view kTcpPort = "2375";
constexpr std::string_view kTlsPort = "2376";

template <typename Number>
bool ReadNumber(std::string_view text, Number* out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<formats::Ipv4Prefix> ParseSubnet(const std::string& text) {
  size_t slash = text.find('/');
  if (slash == std::string::npos) return InvalidArgument("subnet '{}' has no prefix length", text);
  auto address = TRY(formats::Ipv4Address::Parse(text.substr(0, slash)));
  auto parsed = TRY(formats::Ipv4Prefix::Parse("0.0.0.0" + text.substr(slash)));
  return formats::Ipv4Prefix::Of(address, parsed.length);
}

Result<bool> ParseSwitch(const std::string& text) {
  for (std::string_view word : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == word) return true;
  }
  for (std::string_view word : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == word) return false;
  }
  return InvalidArgument("strconv.ParseBool: parsing \"{}\": invalid syntax", text);
}

Result<int64_t> ParseNumber(const std::string& text) {
  int64_t value = 0;
  if (!ReadNumber(text, &value)) {
    return InvalidArgument("strconv.ParseInt: parsing \"{}\": invalid syntax", text);
  }
  return value;
}

Result<std::string> ParseAbsolutePath(const std::string& text) {
  if (!text.starts_with('/')) return InvalidArgument("'{}' is no absolute path", text);
  std::string out = text;
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

Result<std::pair<std::string, std::string>> ParsePair(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return InvalidArgument("invalid key/value pair format in driver options: '{}'", text);
  }
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

Result<engine::Ulimit> ParseUlimit(const std::string& text) {
  static constexpr std::array<std::string_view, 15> kNames = {
      "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
      "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
  std::vector<std::string> parts = Split(text, '=');
  if (parts.size() != 2) return InvalidArgument("invalid ulimit argument: {}", text);
  engine::Ulimit limit;
  limit.name = parts[0];
  if (std::find(kNames.begin(), kNames.end(), limit.name) == kNames.end()) {
    return InvalidArgument("invalid ulimit type: {}", limit.name);
  }
  std::vector<std::string> values = Split(parts[1], ':');
  if (values.size() > 2) {
    return InvalidArgument(
        "too many limit value arguments - {}, can only have up to two, `soft"
        "[:hard]`",
        parts[1]);
  }
  limit.soft = TRY(ParseNumber(values[0]));
  limit.hard = values.size() == 2 ? TRY(ParseNumber(values[1])) : limit.soft;
  if (limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard)) {
    return InvalidArgument("ulimit soft limit must be less than or equal to hard limit: {} > {}",
                           limit.soft, limit.hard);
  }
  return limit;
}

Result<std::string> ParseAddress(const std::string& text) {
  in6_addr bytes{};
  if (::inet_pton(AF_INET, text.c_str(), &bytes) == 1 ||
      ::inet_pton(AF_INET6, text.c_str(), &bytes) == 1) {
    return text;
  }
  return InvalidArgument("{} is not an ip address", text);
}

Result<std::optional<std::string>> ParseHost(const std::string& text, bool tls) {
  std::string host(text);
  while (!host.empty() && (host.back() == ' ' || host.back() == '\n')) host.pop_back();
  if (host.empty() || host == "unix://" || host == "unix:") return std::optional<std::string>();
  if (host.starts_with("unix://") || host.starts_with("fd://")) return std::optional(host);
  size_t scheme = host.find("://");
  if (scheme != std::string::npos) {
    if (!host.starts_with("tcp://"))
      return InvalidArgument("Invalid bind address format: {}", text);
    host = host.substr(6);
  }
  std::string_view default_port = tls ? kTlsPort : kTcpPort;
  size_t colon = host.rfind(':');
  bool in_brackets = colon != std::string::npos && host.find(']', colon) != std::string::npos;
  std::string name = colon == std::string::npos || in_brackets ? host : host.substr(0, colon);
  std::string port =
      colon == std::string::npos || in_brackets ? std::string() : host.substr(colon + 1);
  if (port.empty()) port = default_port;
  uint16_t number = 0;
  if (!ReadNumber(std::string_view(port), &number) || name.find('/') != std::string::npos) {
    return InvalidArgument("Invalid bind address format: {}", text);
  }
  if (name.empty()) name = "localhost";
  return std::optional("tcp://" + name + ":" + port);
}

}  // namespace gantry::gantryd
