// SPDX-License-Identifier: Apache-2.0
#include "engine/settings.h"

#include <algorithm>

#include "engine/container.h"
#include "logs/options.h"

namespace gantry::engine {
namespace {

// "runc" is what docker calls the one that it comes with.
constexpr std::string_view kBuiltInNames[] = {kBuiltInRuntime, "runc", "io.containerd.runc.v2"};

bool Names(const std::vector<Ulimit>& limits, std::string_view name) {
  return std::any_of(limits.begin(), limits.end(),
                     [&](const Ulimit& limit) { return limit.name == name; });
}

// The default driver's options are for a container that uses the default driver.
void ApplyLog(const LogConfig& by_default, LogConfig* log) {
  if (log->type.empty()) log->type = by_default.type;
  if (log->type == by_default.type) {
    log->config.insert(by_default.config.begin(), by_default.config.end());
  }
}

// Only when the container says nothing: its own "no-new-privileges=false" wins, and so does its own
// seccomp profile.
void ApplySecurity(const Settings& settings, HostConfig* host) {
  auto says = [host](std::string_view key) {
    return std::any_of(
        host->security_opt.begin(), host->security_opt.end(), [&](const std::string& option) {
          return option == key || (option.starts_with(key) && option.size() > key.size() &&
                                   (option[key.size()] == '=' || option[key.size()] == ':'));
        });
  };
  if (settings.no_new_privileges && !says("no-new-privileges")) {
    host->security_opt.emplace_back("no-new-privileges");
  }
  bool own_profile = !settings.seccomp_profile.empty() && settings.seccomp_profile != "builtin";
  if (own_profile && !host->privileged && !says("seccomp")) {
    host->security_opt.push_back("seccomp=" + settings.seccomp_profile);
  }
}

}  // namespace

void ApplySettings(const Settings& settings, HostConfig* host) {
  ApplyLog(settings.log, &host->log_config);
  if (host->runtime.empty()) host->runtime = settings.default_runtime;
  for (const Ulimit& limit : settings.default_ulimits) {
    if (!Names(host->ulimits, limit.name)) host->ulimits.push_back(limit);
  }
  if (host->shm_size == 0) host->shm_size = settings.default_shm_size;
  if (host->ipc_mode.empty()) host->ipc_mode = settings.default_ipc_mode;
  // A privileged container has the host's, whatever is the default (dockerd:
  // adaptContainerSettings).
  if (host->cgroupns_mode.empty() && !host->privileged) {
    host->cgroupns_mode = settings.default_cgroupns_mode;
  }
  if (!host->init && settings.init) host->init = true;
  if (host->dns.empty()) host->dns = settings.dns;
  if (host->dns_options.empty()) host->dns_options = settings.dns_options;
  if (host->dns_search.empty()) host->dns_search = settings.dns_search;
  ApplySecurity(settings, host);
}

std::set<std::string> RuntimeNames(const Settings& settings) {
  std::set<std::string> names(std::begin(kBuiltInNames), std::end(kBuiltInNames));
  for (const auto& [name, runtime] : settings.runtimes) names.insert(name);
  return names;
}

Result<std::string> RuntimeBinary(const Settings& settings, const std::string& runtime) {
  auto found = settings.runtimes.find(runtime);
  if (found != settings.runtimes.end()) {
    const RuntimeSetting& own = found->second;
    return own.script.empty() ? own.path : own.script;
  }
  // Records of earlier versions name none.
  if (runtime.empty() || std::ranges::count(kBuiltInNames, runtime) != 0) return std::string();
  return InvalidArgument("unknown or invalid runtime name: {}", runtime);
}

Result<> CheckSettings(const Settings& settings) {
  TRY_WITH(logs::CheckOptions(settings.log.type, settings.log.config), "failed to set log opts");
  if (!RuntimeBinary(settings, settings.default_runtime).ok()) {
    return InvalidArgument("specified default runtime '{}' does not exist",
                           settings.default_runtime);
  }
  return {};
}

}  // namespace gantry::engine
