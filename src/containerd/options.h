// SPDX-License-Identifier: Apache-2.0
//
// The command line of gantry-containerd, over its configuration file (config.h). Plain data.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "containerd/collector.h"
#include "containerd/parts.h"
#include "containerd/proxy_snapshotter.h"

namespace gantry::containerd {

enum class Command { kServe, kConfigDefault, kConfigDump, kFsck };

struct Options {
  Command command = Command::kServe;
  bool repair = false;  // of kFsck, as the next
  bool quick = false;
  std::string inventory;
  std::string root = "/var/lib/gantry/containerd";
  std::string state = "/run/gantry/containerd";
  std::string address = "/run/gantry/containerd.sock";
  std::string cgroup;    // of the daemon itself, below each hierarchy's root; empty: where it is
  std::string pid_file;  // set by ParseOptions: in `state` unless another is named
  // Of the shims' events; "": the address with ".ttrpc" behind it.
  std::string ttrpc_address;
  // HTTP with the daemon's state, on a unix socket; "": none.
  std::string debug_address;
  // HOST:PORT of Prometheus' metrics; "": none.
  std::string metrics_address;
  int grpc_uid = 0;
  int grpc_gid = 0;
  int max_receive_bytes = 16 << 20;
  int max_send_bytes = 16 << 20;
  int oom_score = 0;
  std::vector<std::string> disabled_plugins;
  std::vector<std::string> required_plugins;
  // What the configuration file says that is not used, one line each.
  std::vector<std::string> warnings;
  // Where shim and runtime are; beside this program by default.
  std::string runtime_dir;
  // This program.
  std::string self;
  // Runtime name to shim program, beside the built-in ones.
  std::map<std::string, std::string> runtimes;
  log::Level log_level = log::Level::kInfo;
  log::Format log_format = log::Format::kText;
  RegistrySettings registries;
  CollectionPolicy collection;
  // Between two looks at containers that shall run (restart_monitor.h).
  std::chrono::milliseconds restart_interval{10'000};
  std::vector<ProxySettings> proxy_snapshotters;
  bool version = false;
  bool help = false;

  std::string DefaultPidFile() const { return state + "/gantry-containerd.pid"; }
  std::string TtrpcAddress() const {
    return ttrpc_address.empty() ? address + ".ttrpc" : ttrpc_address;
  }
  bool debug() const { return log_level == log::Level::kDebug; }
};

// kInvalidArgument names the flag that is wrong.
Result<Options> ParseOptions(const std::vector<std::string>& arguments);
extern const char* const kUsage;
// As flag and configuration file have them.
Result<> SetLogLevel(const std::string& value, Options* options);
Result<> SetLogFormat(const std::string& value, Options* options);

}  // namespace gantry::containerd
