// SPDX-License-Identifier: Apache-2.0
#include "logs/options.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <optional>

#include "base/number.h"
#include "formats/human_units.h"

namespace gantry::logs {
namespace {

constexpr int64_t kCacheFileSize = 20 << 20;  // docker's defaults for "local" and its log cache
constexpr int64_t kCacheFiles = 5;
constexpr std::array<std::string_view, 5> kAttributes = {"labels", "labels-regex", "env",
                                                         "env-regex", "tag"};
// Of the file behind the drivers that send lines elsewhere.
constexpr std::array<std::string_view, 4> kCacheOptions = {"cache-disabled", "cache-max-size",
                                                           "cache-max-file", "cache-compress"};

std::string_view Get(const Options& options, const std::string& name) {
  auto found = options.find(name);
  return found == options.end() ? std::string_view() : std::string_view(found->second);
}

// Go's strconv.ParseBool.
Result<bool> ParseBool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return InvalidArgument("strconv.ParseBool: parsing \"{}\": invalid syntax", text);
}

Result<int64_t> ParseSize(std::string_view text) {
  Result<int64_t> size = formats::ParseBinarySize(text);
  if (!size.ok() || *size < 0) return InvalidArgument("invalid size: '{}'", text);
  return size;
}

bool IsAmong(std::string_view name, std::initializer_list<std::string_view> known) {
  return std::find(known.begin(), known.end(), name) != known.end();
}

// The first option that is none of these; options of all drivers are left out before.
const std::string* FirstUnknown(const Options& options, std::initializer_list<std::string_view> own,
                                bool takes_attributes) {
  for (const auto& [name, value] : options) {
    bool attribute = std::find(kAttributes.begin(), kAttributes.end(), name) != kAttributes.end();
    bool common =
        IsAmong(name, {"mode", "max-buffer-size"}) ||
        std::find(kCacheOptions.begin(), kCacheOptions.end(), name) != kCacheOptions.end();
    if (IsAmong(name, own) || common || (attribute && takes_attributes)) continue;
    return &name;
  }
  return nullptr;
}

Result<> CheckMode(const Options& options) {
  std::string_view mode = Get(options, "mode");
  if (!IsAmong(mode, {"", "blocking", "non-blocking"})) {
    return InvalidArgument("logger: logging mode not supported: {}", mode);
  }
  std::string_view size = Get(options, "max-buffer-size");
  if (size.empty()) return {};
  if (mode != "non-blocking") {
    return InvalidArgument(
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  }
  TRY_WITH(ParseSize(size), "error parsing option max-buffer-size");
  return {};
}

Result<> CheckJsonFile(const Options& options) {
  if (const std::string* name = FirstUnknown(options, {"max-size", "max-file", "compress"}, true)) {
    return InvalidArgument("unknown log opt '{}' for json-file log driver", *name);
  }
  std::string_view size = Get(options, "max-size");
  bool limited = !size.empty() && size != "-1";
  if (limited && TRY(ParseSize(size)) <= 0) {
    return InvalidArgument("max-size must be a positive number");
  }
  int64_t files = 1;
  if (std::string_view text = Get(options, "max-file"); !text.empty()) {
    std::optional<int64_t> parsed = ParseNumber<int64_t>(text);
    if (!parsed) {
      return InvalidArgument("strconv.Atoi: parsing \"{}\": invalid syntax", text);
    }
    files = *parsed;
    if (files < 1) return InvalidArgument("max-file cannot be less than 1");
  }
  if (std::string_view compress = Get(options, "compress"); !compress.empty()) {
    if (TRY(ParseBool(compress)) && (files < 2 || !limited)) {
      return InvalidArgument(
          "compress cannot be true when max-file is less than 2 or max-size is not set");
    }
  }
  return {};
}

Result<> CheckLocal(const Options& options) {
  if (const std::string* name =
          FirstUnknown(options, {"max-size", "max-file", "compress"}, false)) {
    return InvalidArgument("unknown log opt '{}' for log driver local", *name);
  }
  if (std::string_view size = Get(options, "max-size"); !size.empty()) {
    if (TRY_WITH(ParseSize(size), "invalid value for max-size: {}", size) <= 0) {
      return InvalidArgument("max file size must be a positive number");
    }
  }
  if (std::string_view text = Get(options, "max-file"); !text.empty()) {
    std::optional<int64_t> files = ParseNumber<int64_t>(text);
    if (!files) {
      return InvalidArgument(
          "invalid value for max-file: {0}: strconv.Atoi: parsing \"{0}\": invalid syntax", text);
    }
    if (*files < 1) return InvalidArgument("max file count cannot be less than 1");
  }
  if (std::string_view compress = Get(options, "compress"); !compress.empty()) {
    TRY_WITH(ParseBool(compress), "invalid value for compress: {}", compress);
  }
  return {};
}

Result<> CheckUnixSocket(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) return {};
  std::string text = std::strerror(errno);
  text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return InvalidArgument("stat {}: {}", path, text);
}

Result<> CheckSyslog(const Options& options) {
  if (const std::string* name =
          FirstUnknown(options,
                       {"syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert",
                        "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"},
                       true)) {
    return InvalidArgument("unknown log opt '{}' for syslog log driver", *name);
  }
  ServerAddress address = TRY(ParseSyslogAddress(Get(options, "syslog-address")));
  if (!address.path.empty()) TRY(CheckUnixSocket(address.path));
  TRY(ParseSyslogFacility(Get(options, "syslog-facility")));
  if (!IsAmong(Get(options, "syslog-format"), {"", "rfc3164", "rfc5424", "rfc5424micro"})) {
    return InvalidArgument("Invalid syslog format");
  }
  return {};
}

Result<> CheckGelf(const Options& options) {
  if (const std::string* name =
          FirstUnknown(options,
                       {"gelf-address", "gelf-compression-type", "gelf-compression-level",
                        "gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"},
                       true)) {
    return InvalidArgument("unknown log opt \"{}\" for gelf log driver", *name);
  }
  ServerAddress address = TRY(ParseGelfAddress(Get(options, "gelf-address")));
  bool udp = address.protocol == "udp";
  std::string_view type = Get(options, "gelf-compression-type");
  std::string_view level = Get(options, "gelf-compression-level");
  if (!udp && (!type.empty() || !level.empty())) {
    return InvalidArgument("compression is only supported on UDP");
  }
  if (!IsAmong(type, {"", "gzip", "zlib", "none"})) {
    return InvalidArgument(
        "unknown value \"{}\" for log opt \"gelf-compression-type\" for gelf log driver", type);
  }
  std::optional<int> number = ParseNumber<int>(level);
  if (!level.empty() && (!number || *number < -1 || *number > 9)) {
    return InvalidArgument(
        "unknown value \"{}\" for log opt \"gelf-compression-level\" for gelf log driver", level);
  }
  for (const char* name : {"gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"}) {
    std::string_view text = Get(options, name);
    if (text.empty()) continue;
    if (udp) return InvalidArgument("\"{}\" is only valid for TCP", name);
    std::optional<int> value = ParseNumber<int>(text);
    if (!value || *value < 0) return InvalidArgument("\"{}\" must be a positive integer", name);
  }
  return {};
}

Result<> CheckFluentd(const Options& options) {
  if (const std::string* name =
          FirstUnknown(options,
                       {"fluentd-address", "fluentd-async", "fluentd-async-connect",
                        "fluentd-async-reconnect-interval", "fluentd-buffer-limit",
                        "fluentd-max-retries", "fluentd-request-ack", "fluentd-retry-wait",
                        "fluentd-sub-second-precision", "fluentd-write-timeout"},
                       true)) {
    return InvalidArgument("unknown log opt '{}' for fluentd log driver", *name);
  }
  TRY(ParseFluentdAddress(Get(options, "fluentd-address")));
  if (!Get(options, "fluentd-async").empty() && !Get(options, "fluentd-async-connect").empty()) {
    return InvalidArgument(
        "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect");
  }
  for (const char* name : {"fluentd-async", "fluentd-async-connect", "fluentd-request-ack",
                           "fluentd-sub-second-precision"}) {
    if (std::string_view text = Get(options, name); !text.empty()) TRY(ParseBool(text));
  }
  if (std::string_view text = Get(options, "fluentd-buffer-limit"); !text.empty()) {
    TRY(ParseSize(text));
  }
  for (const char* name :
       {"fluentd-retry-wait", "fluentd-async-reconnect-interval", "fluentd-write-timeout"}) {
    std::string_view text = Get(options, name);
    if (!text.empty() && !formats::ParseGoDuration(text).ok()) {
      return InvalidArgument("time: invalid duration \"{}\"", text);
    }
  }
  std::string_view retries = Get(options, "fluentd-max-retries");
  if (!retries.empty() && !ParseNumber<uint32_t>(retries)) {
    return InvalidArgument("strconv.ParseUint: parsing \"{}\": invalid syntax", retries);
  }
  return {};
}

Result<> CheckJournald(const Options& options) {
  if (const std::string* name = FirstUnknown(options, {}, true)) {
    return InvalidArgument("unknown log opt '{}' for journald log driver", *name);
  }
  return {};
}

}  // namespace

Result<> CheckOptions(const std::string& driver, const Options& options) {
  struct Driver {
    std::string_view name;
    Result<> (*check)(const Options&);
  };
  static constexpr Driver kDrivers[] = {{"", CheckJsonFile},        {"json-file", CheckJsonFile},
                                        {"local", CheckLocal},      {"syslog", CheckSyslog},
                                        {"gelf", CheckGelf},        {"fluentd", CheckFluentd},
                                        {"journald", CheckJournald}};
  if (driver == "none") return {};  // whatever its options are
  for (const Driver& known : kDrivers) {
    if (known.name != driver) continue;
    TRY(CheckMode(options));
    return known.check(options);
  }
  return InvalidArgument("error looking up logging plugin {0}: plugin \"{0}\" not found", driver);
}

bool IsForwarded(std::string_view driver) {
  return IsAmong(driver, {"syslog", "journald", "fluentd", "gelf"});
}

FileLimits LimitsOf(const std::string& driver, const Options& options) {
  bool plain = driver.empty() || driver == "json-file";
  FileLimits limits;
  if (!plain) limits = {kCacheFileSize, kCacheFiles};
  std::string prefix = IsForwarded(driver) ? "cache-" : "";
  std::string_view size = Get(options, prefix + "max-size");
  if (!size.empty() && size != "-1") {
    Result<int64_t> parsed = ParseSize(size);
    if (parsed.ok()) limits.max_size = *parsed;
  }
  if (auto files = ParseNumber<int64_t>(Get(options, prefix + "max-file"))) {
    limits.max_files = *files;
  }
  // docker's default for "local". The place in a file that is sent on would be lost with it.
  limits.compress = driver == "local";
  std::string_view compress = Get(options, "compress");
  if (!IsForwarded(driver) && !compress.empty()) {
    Result<bool> wanted = ParseBool(compress);
    limits.compress = wanted.ok() && *wanted;
  }
  if (limits.max_files < 2) limits.compress = false;
  return limits;
}

namespace {

// "host", "host:port" or "[v6]:port".
void SplitHostPort(std::string_view text, ServerAddress* address) {
  size_t colon = text.rfind(':');
  bool bracketed = text.starts_with('[');
  if (colon == std::string_view::npos || (bracketed && text.find(']') > colon)) {
    address->host = text;
  } else {
    address->host = text.substr(0, colon);
    address->port = text.substr(colon + 1);
  }
  if (bracketed && address->host.ends_with(']')) {
    address->host = address->host.substr(1, address->host.size() - 2);
  }
}

}  // namespace

Result<ServerAddress> ParseSyslogAddress(std::string_view text) {
  ServerAddress address;
  if (text.empty()) return address;
  size_t colon = text.find("://");
  if (colon != std::string_view::npos) address.protocol = text.substr(0, colon);
  if (!IsAmong(address.protocol, {"udp", "tcp", "tcp+tls", "unix", "unixgram"})) {
    return InvalidArgument("syslog-address should be in form proto://address, got {}", text);
  }
  std::string_view rest = text.substr(colon + 3);
  if (address.protocol.starts_with("unix")) {
    address.path = rest;
    return address;
  }
  SplitHostPort(rest, &address);
  if (address.port.empty()) address.port = "514";
  return address;
}

Result<ServerAddress> ParseGelfAddress(std::string_view text) {
  if (text.empty()) return InvalidArgument("gelf-address is a required parameter");
  ServerAddress address;
  size_t colon = text.find("://");
  if (colon != std::string_view::npos) address.protocol = text.substr(0, colon);
  if (address.protocol != "udp" && address.protocol != "tcp") {
    return InvalidArgument("gelf-address should be in form proto://address, got {}", text);
  }
  SplitHostPort(text.substr(colon + 3), &address);
  if (address.host.empty() || address.port.empty()) {
    return InvalidArgument("gelf: please provide gelf-address as proto://host:port");
  }
  return address;
}

Result<ServerAddress> ParseFluentdAddress(std::string_view text) {
  ServerAddress address;
  address.protocol = "tcp";
  address.host = "127.0.0.1";
  address.port = "24224";
  if (text.empty()) return address;
  std::string_view rest = text;
  if (size_t colon = text.find("://"); colon != std::string_view::npos) {
    std::string_view protocol = text.substr(0, colon);
    if (protocol == "unix") {
      address.protocol = "unix";
      address.path = text.substr(colon + 3);
      if (address.path.empty()) return InvalidArgument("path is empty");
      return address;
    }
    if (protocol != "tcp") {
      return InvalidArgument("invalid fluentd-address {}: unsupported scheme: {}", text, protocol);
    }
    rest = text.substr(colon + 3);
  }
  address.port.clear();
  SplitHostPort(rest, &address);
  if (address.host.empty()) address.host = "127.0.0.1";
  if (address.port.empty()) address.port = "24224";
  if (!ParseNumber<uint16_t>(address.port)) {
    return InvalidArgument(
        "invalid fluentd-address {}: strconv.Atoi: parsing \"{}\": invalid syntax", text,
        address.port);
  }
  return address;
}

Result<int> ParseSyslogFacility(std::string_view text) {
  static constexpr std::string_view kNames[] = {
      "kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
      "uucp",   "cron",   "authpriv", "ftp",    "",       "",       "",       "",
      "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};
  if (text.empty()) return 3;
  for (int i = 0; i < 24; ++i) {
    if (text == kNames[i]) return i;
  }
  std::optional<int> number = ParseNumber<int>(text);
  if (number && *number >= 0 && *number <= 23) return *number;
  return InvalidArgument("invalid syslog facility");
}

}  // namespace gantry::logs
