// SPDX-License-Identifier: Apache-2.0
//
// The log drivers there are and the options that each takes, checked when a container is created,
// in docker's words. Pure, but for the address of a unix socket, which must be there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::logs {

using Options = std::map<std::string, std::string>;

// kInvalidArgument: an unknown driver, an unknown option, or a value that makes no sense.
Result<> CheckOptions(const std::string& driver, const Options& options);

// Lines of the driver go to a log server too: syslog, journald, fluentd, gelf.
bool IsForwarded(std::string_view driver);

// How the file is kept that the shim writes, whatever the driver: what `docker logs` reads.
struct FileLimits {
  int64_t max_size = -1;  // bytes in one file; -1: never rotated
  int64_t max_files = 1;
  bool compress = false;  // the rotated files
};
// Of options that CheckOptions has passed.
FileLimits LimitsOf(const std::string& driver, const Options& options);

// "proto://address" of a log server.
struct ServerAddress {
  std::string protocol;  // "udp", "tcp", "tcp+tls", "unix", "unixgram"; "": the local syslog
  std::string host;
  std::string port;
  std::string path;  // of a unix socket
};
Result<ServerAddress> ParseSyslogAddress(std::string_view text);
Result<ServerAddress> ParseGelfAddress(std::string_view text);
Result<ServerAddress> ParseFluentdAddress(std::string_view text);

// 0 to 23, from docker's names or a number; "" is daemon, 3.
Result<int> ParseSyslogFacility(std::string_view text);

}  // namespace gantry::logs
