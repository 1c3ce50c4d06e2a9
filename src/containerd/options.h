// SPDX-License-Identifier: Apache-2.0
//
// The command line of gantry-containerd. Plain data.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "containerd/collector.h"
#include "containerd/parts.h"
#include "containerd/proxy_snapshotter.h"

namespace gantry::containerd {

struct Options {
  std::string root = "/var/lib/gantry/containerd";
  std::string state = "/run/gantry/containerd";
  std::string address = "/run/gantry/containerd.sock";
  std::string pid_file = "/run/gantry/gantry-containerd.pid";
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
  std::vector<ProxySettings> proxy_snapshotters;
  bool version = false;
  bool help = false;

  bool debug() const { return log_level == log::Level::kDebug; }
};

// kInvalidArgument names the flag that is wrong.
Result<Options> ParseOptions(const std::vector<std::string>& arguments);
extern const char* const kUsage;

}  // namespace gantry::containerd
