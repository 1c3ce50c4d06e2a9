// SPDX-License-Identifier: Apache-2.0
//
// The command line of gantryd, and the file that says the same (--config-file, JSON, the keys of
// docker's daemon.json that gantryd has). Plain data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "formats/ip_address.h"

namespace gantry::gantryd {

struct Options {
  std::string root = "/var/lib/gantry";
  std::string state = "/run/gantry";
  std::vector<std::string> hosts;  // empty: unix://STATE/gantry.sock
  std::string group = "docker";    // of the unix socket
  std::string containerd;          // "": gantryd runs gantry-containerd
  std::string bridge = "gantry0";
  std::optional<formats::Ipv4Prefix> subnet;
  std::string cgroup_parent = "/gantry";
  std::string pid_file;  // "": STATE/gantryd.pid
  std::string log_level = "info";
  std::string log_format = "text";
  bool keep = false;  // stay as a parent that starts the daemon again when it is killed
  bool version = false;
  bool help = false;

  log::Level Level() const;
  log::Format Format() const;
};

// kInvalidArgument names the flag or key that is wrong.
Result<Options> ParseOptions(const std::vector<std::string>& arguments);
extern const char* const kUsage;

}  // namespace gantry::gantryd
