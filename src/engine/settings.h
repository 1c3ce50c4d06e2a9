// SPDX-License-Identifier: Apache-2.0
//
// What the daemon's configuration says about the engine's behaviour (docs/daemon-config.md): the
// defaults that a container gets where its own request says nothing, and what GET /info tells.
// gantryd reads it from flags and daemon.json; a reload puts a new one in the engine's place. A
// reader takes one pointer (Engine::settings) and uses that for the whole of its request. Plain
// data; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/config.h"

namespace gantry::engine {

// One of "runtimes": what a container's HostConfig.Runtime may name.
struct RuntimeSetting {
  std::string path;
  std::vector<std::string> arguments;
  std::string script;  // what is executed instead of `path` when there are arguments
};

// The runtime that is there without configuration.
inline constexpr std::string_view kBuiltInRuntime = "gantry";

struct Settings {
  bool debug = false;
  std::vector<std::string> labels;  // "name=value"
  std::map<std::string, bool> features;
  bool experimental = false;  // builds may squash
  // What a client may grant its builds ("builder").
  bool builds_use_host_network = true;
  bool builds_run_insecure = false;
  // Of the API versions 1.MINOR the lowest that is served.
  int min_api_minor = 24;

  // Containers.
  LogConfig log{"json-file", {}};
  std::string default_runtime = std::string(kBuiltInRuntime);
  std::map<std::string, RuntimeSetting> runtimes;
  std::vector<Ulimit> default_ulimits;
  int64_t default_shm_size = int64_t{64} << 20;  // bytes
  std::string default_ipc_mode = "private";
  std::string default_cgroupns_mode;  // "": private with cgroup v2, else host
  bool init = false;
  std::string init_path;        // "": gantry-init
  std::string seccomp_profile;  // "" or "builtin", "unconfined", or the text of a profile
  std::string seccomp_path;     // where the profile came from, for GET /info
  bool no_new_privileges = false;
  std::vector<std::string> dns;
  std::vector<std::string> dns_options;
  std::vector<std::string> dns_search;
  // What "host-gateway" stands for in their /etc/hosts, at most one address of a family; empty: the
  // default network's gateways.
  std::vector<std::string> host_gateways;
  // Where ports are published that say no address, on networks that say none; "": everywhere.
  std::string port_address;
  // By driver: options of new networks that don't have them.
  std::map<std::string, std::map<std::string, std::string>> default_network_options;
  int64_t default_stop_timeout = 10;  // seconds
  std::vector<std::string> cdi_spec_directories{"/etc/cdi", "/var/run/cdi"};

  // Registries.
  std::vector<std::string> registry_mirrors;     // URLs, of docker.io
  std::vector<std::string> insecure_registries;  // "host:port"
  // Where mirrors or insecure registries are set: a directory with their hosts.toml
  // (docs/hosts.md).
  std::string registry_hosts_directory;
  std::string http_proxy;
  std::string https_proxy;
  std::string no_proxy;
  int64_t max_concurrent_downloads = 3;

  // What images, build cache, containers and volumes may take together; 0: any amount.
  int64_t disk_budget = 0;         // bytes
  int64_t disk_budget_keep = 600;  // seconds; what was used since then stays

  int64_t shutdown_timeout = 15;  // seconds that requests get when the daemon stops
};

// What a container's request leaves open and the configuration says: before the host's own defaults
// (ApplyHostDefaults). A container of its own logging driver keeps its own options.
void ApplySettings(const Settings& settings, HostConfig* host);

// The program of a container's runtime; "" is the built-in one, which "runc" means too unless the
// configuration has a runtime of that name. kInvalidArgument: "unknown or invalid runtime name: x".
Result<std::string> RuntimeBinary(const Settings& settings, const std::string& runtime);

// What RuntimeBinary knows.
std::set<std::string> RuntimeNames(const Settings& settings);

// kInvalidArgument in docker's words for a log driver or options that no container could have, and
// for a default runtime that is not there.
Result<> CheckSettings(const Settings& settings);

}  // namespace gantry::engine
