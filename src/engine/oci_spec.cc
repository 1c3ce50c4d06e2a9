// SPDX-License-Identifier: Apache-2.0
#include "engine/oci_spec.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "base/io.h"
#include "base/text.h"
#include "engine/apparmor.h"
#include "engine/capabilities.h"
#include "engine/device_requests.h"
#include "engine/mount_points.h"
#include "engine/namespace_modes.h"
#include "engine/oci_devices.h"
#include "engine/oci_mounts.h"
#include "engine/seccomp_profile.h"
#include "engine/security_options.h"

namespace gantry::engine {
namespace {

constexpr int64_t kDefaultShmSize = 64 << 20;
constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

constexpr std::array<std::string_view, 12> kMaskedPaths = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
};
constexpr std::array<std::string_view, 5> kReadonlyPaths = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

bool SharesHostNetwork(const HostConfig& host) { return host.network_mode == "host"; }

void AddHome(const std::string& home, std::vector<std::string>* env) {
  bool set = std::any_of(env->begin(), env->end(),
                         [](const std::string& variable) { return variable.starts_with("HOME="); });
  if (!set) env->push_back("HOME=" + home);
}

Result<std::vector<oci::Rlimit>> MakeRlimits(const HostConfig& host) {
  static constexpr std::array<std::string_view, 15> kNames = {
      "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
      "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
  std::vector<oci::Rlimit> out;
  for (const Ulimit& limit : host.ulimits) {
    if (std::find(kNames.begin(), kNames.end(), limit.name) == kNames.end()) {
      return InvalidArgument("invalid ulimit type: {}", limit.name);
    }
    std::string type = "RLIMIT_" + Upper(limit.name);
    // -1 is the kernel's RLIM_INFINITY.
    out.push_back({type, static_cast<uint64_t>(limit.hard), static_cast<uint64_t>(limit.soft)});
  }
  return out;
}

void AddNamespaces(const SpecRequest& request, std::vector<oci::Namespace>* namespaces) {
  const HostConfig& host = *request.host;
  if (!request.user_namespace.empty()) namespaces->push_back({"user", request.user_namespace});
  namespaces->push_back({"mount", ""});
  if (!SharesHostNetwork(host)) namespaces->push_back({"network", request.network_namespace});
  if (host.uts_mode != "host") namespaces->push_back({"uts", ""});
  if (host.pid_mode != "host") namespaces->push_back({"pid", request.pid_namespace});
  if (host.ipc_mode != "host") namespaces->push_back({"ipc", request.ipc_namespace});
  if (host.cgroupns_mode == "private") namespaces->push_back({"cgroup", ""});
}

Result<oci::Process> MakeProcess(const SpecRequest& request, const SecurityOptions& security) {
  const ContainerConfig& config = *request.config;
  const HostConfig& host = *request.host;
  oci::Process process;
  process.terminal = config.tty;
  auto [rows, columns] = host.console_size;
  if (config.tty && rows != 0 && columns != 0)
    process.console_size = oci::ConsoleSize{rows, columns};
  process.args = config.entrypoint.words;
  process.args.insert(process.args.end(), config.cmd.words.begin(), config.cmd.words.end());
  if (process.args.empty()) return InvalidArgument("no command specified");
  if (host.init.value_or(false) && host.pid_mode.empty()) {
    process.args.insert(process.args.begin(), {"/sbin/docker-init", "--"});
  }
  ResolvedUser user = TRY(ResolveUser(config.user, host.group_add, request.accounts));
  process.user.uid = user.uid;
  process.user.gid = user.gid;
  process.user.additional_gids = user.additional_gids;
  std::vector<std::string> env = {fmt::format("PATH={}", kDefaultPath),
                                  "HOSTNAME=" + request.uts_hostname};
  if (config.tty) env.emplace_back("TERM=xterm");
  env.insert(env.end(), request.link_environment.begin(), request.link_environment.end());
  process.env = MergeEnvironment(std::move(env), config.env);
  AddHome(user.home, &process.env);
  process.cwd = config.working_dir.empty() ? "/" : config.working_dir;
  std::vector<std::string> capabilities = TRY(MakeCapabilities(host));
  process.capabilities = oci::Capabilities{capabilities, capabilities, {}, capabilities, {}};
  process.rlimits = TRY(MakeRlimits(host));
  process.no_new_privileges = security.no_new_privileges;
  process.oom_score_adj = static_cast<int32_t>(host.oom_score_adj);
  process.apparmor_profile = AppArmorProfileOf(host);
  if (process.apparmor_profile == kDefaultAppArmorProfile) TRY(EnsureAppArmorProfile());
  return process;
}

Result<std::optional<oci::Seccomp>> MakeSeccomp(const HostConfig& host,
                                                const SecurityOptions& security,
                                                const std::vector<std::string>& capabilities) {
  bool off = security.seccomp == "unconfined" || (host.privileged && security.seccomp.empty());
  if (off) return std::optional<oci::Seccomp>();
  std::set<std::string> held(capabilities.begin(), capabilities.end());
  if (security.seccomp.empty() || security.seccomp == "builtin") {
    return std::optional(DefaultSeccomp(held));
  }
  return std::optional(TRY(ParseSeccompProfile(security.seccomp, held)));
}

// The engine's own defaults lie under the user's.
Result<> MakeSysctls(const SpecRequest& request, std::map<std::string, std::string>* sysctls) {
  const HostConfig& host = *request.host;
  bool remapped = request.remap != nullptr;
  bool own_network = !SharesHostNetwork(host) && !IsContainerMode(host.network_mode);
  if (own_network) {
    // Ping without CAP_NET_RAW, ports below 1024 without CAP_NET_BIND_SERVICE. Of a range of ids
    // not all groups are there.
    if (!remapped) (*sysctls)["net.ipv4.ping_group_range"] = "0 2147483647";
    (*sysctls)["net.ipv4.ip_unprivileged_port_start"] = "0";
  }
  for (const auto& [name, value] : host.sysctls) {
    bool network = name.starts_with("net.");
    bool ipc = name.starts_with("fs.mqueue.") || name.starts_with("kernel.msg") ||
               name.starts_with("kernel.sem") || name.starts_with("kernel.shm");
    bool uts = name == "kernel.domainname" && host.uts_mode != "host";
    if (!network && !ipc && !uts) {
      return InvalidArgument("sysctl '{}' is not allowed: it is not of a namespace", name);
    }
    if (network && SharesHostNetwork(host)) {
      return InvalidArgument("sysctl '{}' not allowed in host network namespace", name);
    }
    if (ipc && host.ipc_mode == "host") {
      return InvalidArgument("sysctl '{}' not allowed in host ipc namespace", name);
    }
    (*sysctls)[name] = value;
  }
  return {};
}

}  // namespace

std::vector<std::string> MergeEnvironment(std::vector<std::string> base,
                                          const std::vector<std::string>& over) {
  for (const std::string& variable : over) {
    std::string_view name = std::string_view(variable).substr(0, variable.find('='));
    auto same = std::find_if(base.begin(), base.end(), [&](const std::string& existing) {
      return existing.size() > name.size() && existing.starts_with(name) &&
             existing[name.size()] == '=';
    });
    bool removes = name.size() == variable.size();
    if (same == base.end()) {
      if (!removes) base.push_back(variable);
    } else if (removes) {
      base.erase(same);
    } else {
      *same = variable;
    }
  }
  return base;
}

void ApplyHostDefaults(bool unified_cgroups, HostConfig* host) {
  if (host->network_mode.empty() || host->network_mode == "default") {
    host->network_mode = "bridge";
  }
  if (host->memory > 0 && host->memory_swap == 0) host->memory_swap = host->memory * 2;
  if (host->shm_size == 0) host->shm_size = kDefaultShmSize;
  if (host->ipc_mode.empty()) host->ipc_mode = "private";
  if (host->cgroupns_mode.empty()) {
    host->cgroupns_mode = unified_cgroups && !host->privileged ? "private" : "host";
  }
  if (host->log_config.type.empty()) host->log_config.type = "json-file";
  if (host->restart_policy.name.empty()) host->restart_policy.name = "no";
  auto defaults = [](const auto& paths) {
    return std::vector<std::string>(paths.begin(), paths.end());
  };
  if (!host->oom_kill_disable) host->oom_kill_disable = false;
  if (host->privileged) {
    // None of them; inspect shows null.
    host->masked_paths.reset();
    host->readonly_paths.reset();
    return;
  }
  if (!host->masked_paths) host->masked_paths = defaults(kMaskedPaths);
  if (!host->readonly_paths) host->readonly_paths = defaults(kReadonlyPaths);
}

Result<oci::Process> MakeContainerProcess(const SpecRequest& request) {
  return MakeProcess(request, TRY(ParseSecurityOptions(*request.host)));
}

Result<oci::Spec> MakeSpec(const SpecRequest& request) {
  const HostConfig& host = *request.host;
  SecurityOptions security = TRY(ParseSecurityOptions(host));
  oci::Spec spec;
  spec.root = oci::Root{request.root_path, host.readonly_rootfs};
  spec.process = TRY(MakeProcess(request, security));
  if (host.uts_mode != "host") {
    spec.hostname = request.uts_hostname;
    spec.domainname = request.config->domainname;
  }
  spec.mounts = TRY(MakeMounts(request));
  spec.annotations = host.annotations;

  oci::LinuxPlatform& platform = spec.platform;
  AddNamespaces(request, &platform.namespaces);
  if (request.remap != nullptr) {
    platform.uid_mappings = request.remap->uids;
    platform.gid_mappings = request.remap->gids;
  }
  TRY(MakeSysctls(request, &platform.sysctl));
  platform.resources = TRY(MakeResources(host));
  DeviceSet devices = TRY(MakeDevices(host));
  platform.devices = std::move(devices.devices);
  platform.resources->devices = std::move(devices.rules);
  platform.seccomp = TRY(MakeSeccomp(host, security, spec.process->capabilities->bounding));
  platform.rootfs_propagation = RootPropagation(request.mounts);
  platform.masked_paths = host.masked_paths.value_or(std::vector<std::string>());
  platform.readonly_paths = host.readonly_paths.value_or(std::vector<std::string>());
  const std::string& parent =
      host.cgroup_parent.empty() ? request.default_cgroup_parent : host.cgroup_parent;
  if (parent.find("..") != std::string::npos) {
    return InvalidArgument("invalid cgroup parent '{}'", parent);
  }
  platform.cgroups_path = parent + "/" + request.id;
  TRY(ApplyDeviceRequests(host.device_requests, request.cdi_directories, &spec));
  return spec;
}

Result<oci::Process> MakeExecProcess(const ExecConfig& exec, const ContainerConfig& config,
                                     const HostConfig& host, const oci::Process& container,
                                     const Accounts& accounts) {
  if (exec.cmd.empty()) return InvalidArgument("No exec command specified");
  oci::Process process = container;
  process.terminal = exec.tty;
  process.console_size.reset();
  process.args = exec.cmd;
  if (!exec.working_dir.empty()) process.cwd = exec.working_dir;
  std::string user_wanted = exec.user.empty() ? config.user : exec.user;
  ResolvedUser user = TRY(ResolveUser(user_wanted, host.group_add, accounts));
  process.user.uid = user.uid;
  process.user.gid = user.gid;
  process.user.additional_gids = user.additional_gids;
  if (exec.privileged) {
    std::vector<std::string> all = TRY(AvailableCapabilities());
    process.capabilities = oci::Capabilities{all, all, {}, all, {}};
  }
  std::vector<std::string> inherited = container.env;
  // The container's terminal is not the exec's, unless the image or the user says so.
  bool term_is_configured =
      std::any_of(config.env.begin(), config.env.end(),
                  [](const std::string& variable) { return variable.starts_with("TERM="); });
  if (!exec.tty && !term_is_configured) std::erase(inherited, "TERM=xterm");
  process.env = MergeEnvironment(std::move(inherited), exec.env);
  // HOME is the new user's unless the container or the request says otherwise.
  bool home_is_asked =
      std::any_of(exec.env.begin(), exec.env.end(),
                  [](const std::string& variable) { return variable.starts_with("HOME="); });
  bool home_is_configured =
      std::any_of(config.env.begin(), config.env.end(),
                  [](const std::string& variable) { return variable.starts_with("HOME="); });
  if (!home_is_asked && !home_is_configured) {
    std::erase_if(process.env,
                  [](const std::string& variable) { return variable.starts_with("HOME="); });
    AddHome(user.home, &process.env);
  }
  if (exec.tty) process.env = MergeEnvironment({"TERM=xterm"}, process.env);
  return process;
}

}  // namespace gantry::engine
