// SPDX-License-Identifier: Apache-2.0
#include "engine/config_checks.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "engine/capabilities.h"
#include "engine/health.h"
#include "engine/mount_points.h"
#include "engine/namespace_modes.h"
#include "engine/net_rates.h"
#include "engine/resource_checks.h"
#include "engine/signals.h"
#include "formats/human_units.h"

namespace gantry::engine {
namespace {

constexpr size_t kMaxHostname = 64;  // HOST_NAME_MAX
constexpr int64_t kMaxOomScoreAdj = 1000;
constexpr std::string_view kUndefined = "This would result in undefined behavior";

// What can't be combined with another container's network.
Result<> CheckJoinedNetwork(const ContainerConfig& config, const HostConfig& host) {
  if (host.network_mode != "container" && !IsContainerMode(host.network_mode)) return {};
  if (ContainerOfMode(host.network_mode).empty()) {
    return InvalidArgument("invalid network mode: invalid container format container:<name|id>");
  }
  auto conflict = [](std::string_view what) {
    return InvalidArgument("conflicting options: {}", what);
  };
  if (!config.hostname.empty()) return conflict("hostname and the network mode");
  if (!host.links.empty()) {
    return InvalidArgument(
        "conflicting options: container type network can't be used with links. {}", kUndefined);
  }
  if (!host.dns.empty()) return conflict("dns and the network mode");
  if (!host.extra_hosts.empty()) {
    return conflict("custom host-to-IP mapping and the network mode");
  }
  if (!host.port_bindings.empty() || host.publish_all_ports) {
    return conflict("port publishing and the container type network mode");
  }
  if (!config.exposed_ports.names.empty()) {
    return conflict("port exposing and the container type network mode");
  }
  return {};
}

Result<> CheckNetworkMode(const ContainerConfig& config, const HostConfig& host) {
  TRY(CheckJoinedNetwork(config, host));
  if (host.uts_mode == "host" && !config.hostname.empty()) {
    return InvalidArgument("conflicting options: hostname and the UTS mode");
  }
  if (host.network_mode == "host" && !host.links.empty()) {
    return InvalidArgument("conflicting options: host type networking can't be used with links. {}",
                           kUndefined);
  }
  return {};
}

// What only other systems have.
Result<> CheckForeign(const HostConfig& host) {
  std::string isolation = host.isolation;
  std::transform(isolation.begin(), isolation.end(), isolation.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (!isolation.empty() && isolation != "default") {
    return InvalidArgument("invalid isolation ({}): linux only supports 'default'", host.isolation);
  }
  if (host.io_maximum_bandwidth != 0) {
    return InvalidArgument(
        "invalid option: QoS maximum bandwidth configuration is not supported on linux");
  }
  if (host.io_maximum_iops != 0) {
    return InvalidArgument(
        "invalid option: QoS maximum IOPs configuration is not supported on linux");
  }
  return {};
}

Result<> CheckConfig(ContainerConfig* config) {
  if (!config->working_dir.empty()) {
    if (config->working_dir[0] != '/') {
      return InvalidArgument(
          "the working directory '{}' is invalid, it needs to be an absolute path",
          config->working_dir);
    }
    config->working_dir = CleanPath(config->working_dir);
  }
  if (!config->stop_signal.empty()) TRY(ParseSignal(config->stop_signal));
  for (const std::string& variable : config->env) {
    if (variable.empty() || variable[0] == '=') {
      return InvalidArgument("invalid environment variable: {}", variable);
    }
  }
  if (config->healthcheck) TRY(CheckHealthcheck(*config->healthcheck));
  return {};
}

bool IsAddress(const std::string& text) {
  unsigned char buffer[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, text.c_str(), buffer) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), buffer) == 1;
}

Result<> CheckNames(const HostConfig& host) {
  for (const std::string& extra : host.extra_hosts) {
    size_t colon = extra.find(':');
    if (colon == std::string::npos || colon == 0) {
      return InvalidArgument("bad format for add-host: \"{}\"", extra);
    }
    std::string address = extra.substr(colon + 1);
    if (address != "host-gateway" && !IsAddress(address)) {
      return InvalidArgument("invalid IP address in add-host: \"{}\"", address);
    }
  }
  for (const std::string& server : host.dns) {
    if (!IsAddress(server)) {
      return InvalidArgument("HostConfig.Dns: \"{}\" is no IP address", server);
    }
  }
  return {};
}

Result<> CheckRestartPolicy(const HostConfig& host) {
  const auto& [name, retries] = host.restart_policy;
  if (name == "on-failure") {
    if (retries >= 0) return {};
    return InvalidArgument("invalid restart policy: maximum retry count cannot be negative");
  }
  if (name == "always" || name == "unless-stopped" || name == "no") {
    if (retries == 0) return {};
    return InvalidArgument(
        "invalid restart policy: maximum retry count can only be used with 'on-failure'{}",
        retries < 0 ? " and cannot be negative" : "");
  }
  if (name.empty()) return {};
  return InvalidArgument(
      "invalid restart policy: unknown policy '{}'; use one of 'no', 'always', 'on-failure', or "
      "'unless-stopped'",
      name);
}

// What docker checks in the same way on every system.
Result<> CheckHost(const HostConfig& host) {
  bool restarts = !host.restart_policy.name.empty() && host.restart_policy.name != "no";
  if (host.auto_remove && restarts) {
    return InvalidArgument("can't create 'AutoRemove' container with restart policy");
  }
  TRY(CheckNames(host));
  TRY(CheckRestartPolicy(host));
  TRY(CheckCapabilities(host));
  if (host.annotations.contains("")) {
    return InvalidArgument(
        "invalid Annotations: the empty string is not permitted as an annotation key");
  }
  return {};
}

Result<> CheckNamespaces(const HostConfig& host) {
  static const std::set<std::string_view> kIpc = {"", "none", "private", "host", "shareable"};
  if (!kIpc.contains(host.ipc_mode) && !IsContainerMode(host.ipc_mode)) {
    return InvalidArgument("invalid IPC mode: {}", host.ipc_mode);
  }
  bool joins = !ContainerOfMode(host.pid_mode).empty();
  if (!host.pid_mode.empty() && host.pid_mode != "host" && !joins) {
    return InvalidArgument("invalid PID mode: {}", host.pid_mode);
  }
  if (host.shm_size < 0) return InvalidArgument("SHM size can not be less than 0");
  if (!host.uts_mode.empty() && host.uts_mode != "host") {
    return InvalidArgument("invalid UTS mode: {}", host.uts_mode);
  }
  if (host.oom_score_adj < -kMaxOomScoreAdj || host.oom_score_adj > kMaxOomScoreAdj) {
    return InvalidArgument("Invalid value {}, range for oom score adj is [-1000, 1000]",
                           host.oom_score_adj);
  }
  return {};
}

Result<> CheckUserNamespace(const HostFacts& facts, const HostConfig& host) {
  if (!host.userns_mode.empty() && host.userns_mode != "host") {
    return InvalidArgument("invalid USER mode: {}", host.userns_mode);
  }
  if (!facts.remaps_users || host.userns_mode == "host") return {};
  if (host.privileged) {
    return InvalidArgument(
        "privileged mode is incompatible with user namespaces.  You must run the container in the "
        "host namespace when running privileged mode");
  }
  if (host.network_mode == "host") {
    return InvalidArgument(
        "cannot share the host's network namespace when user namespaces are enabled");
  }
  if (host.pid_mode == "host") {
    return InvalidArgument("cannot share the host PID namespace when user namespaces are enabled");
  }
  return {};
}

// containerd looks for the shim of a name with a dot by itself.
bool IsShimName(std::string_view name) {
  size_t dot = name.find('.');
  return name.find('/') == std::string_view::npos && dot != std::string_view::npos && dot > 0;
}

Result<> CheckPlaces(const HostFacts& facts, const HostConfig& host) {
  if (!host.cgroup_parent.empty() && facts.systemd_cgroups) {
    bool slice = host.cgroup_parent.size() > 6 && host.cgroup_parent.ends_with(".slice");
    if (!slice) {
      return InvalidArgument(
          "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"");
    }
  }
  if (!host.runtime.empty() && !facts.runtimes.contains(host.runtime) &&
      !IsShimName(host.runtime)) {
    return InvalidArgument("unknown or invalid runtime name: {}", host.runtime);
  }
  for (const auto& [name, value] : host.storage_opt) {
    if (name != "size") return InvalidArgument("Unknown option {}", name);
    TRY(LayerQuota(host.storage_opt));
    if (facts.layer_quotas) continue;
    return InvalidArgument(
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
  }
  for (const auto& [target, options] : host.tmpfs) {
    if (target.empty() || (target[0] == '/' && CleanPath(target) == "/")) {
      return InvalidArgument("invalid specification: destination can't be '/'");
    }
    if (target[0] != '/') {
      return InvalidArgument("invalid mount path: '{}' mount path must be absolute", target);
    }
  }
  if (!host.cgroupns_mode.empty() && host.cgroupns_mode != "private" &&
      host.cgroupns_mode != "host") {
    return InvalidArgument("invalid cgroup namespace mode: {}", host.cgroupns_mode);
  }
  return {};
}

}  // namespace

Result<int64_t> LayerQuota(const std::map<std::string, std::string>& storage_options) {
  auto size = storage_options.find("size");
  if (size == storage_options.end()) return 0;
  return formats::ParseBinarySize(size->second);
}

Result<Warnings> CheckCreate(const HostFacts& facts, ContainerConfig* config, HostConfig* host) {
  TRY(CheckNetworkMode(*config, *host));
  TRY(CheckNetRates(*host));
  TRY(CheckForeign(*host));
  TRY(CheckRealtime(facts.cgroups, *host));
  TRY(CheckConfig(config));
  TRY(CheckHost(*host));
  if (config->hostname.size() > kMaxHostname) {
    return InvalidArgument("hostname \"{}\" is too long (maximum {} bytes)", config->hostname,
                           kMaxHostname);
  }
  Warnings warnings = TRY(CheckResources(facts, host, ResourceCheck::kCreate));
  TRY(CheckNamespaces(*host));
  bool has_network = host->network_mode != "host" && host->network_mode != "none";
  if (!facts.forwards_ipv4 && has_network) {
    warnings.emplace_back("IPv4 forwarding is disabled. Networking will not work.");
  }
  if (host->network_mode == "host" && !host->port_bindings.empty()) {
    warnings.emplace_back("Published ports are discarded when using host network mode");
  }
  TRY(CheckUserNamespace(facts, *host));
  TRY(CheckPlaces(facts, *host));
  if (host->cgroupns_mode == "private" && !facts.cgroup_namespaces) {
    warnings.emplace_back(
        "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.");
  }
  return warnings;
}

Result<Warnings> CheckUpdate(const HostFacts& facts, HostConfig* host) {
  TRY(CheckRestartPolicy(*host));
  TRY(CheckForeign(*host));
  TRY(CheckRealtime(facts.cgroups, *host));
  return CheckResources(facts, host, ResourceCheck::kUpdate);
}

}  // namespace gantry::engine
