// SPDX-License-Identifier: Apache-2.0
#include "engine/api/info.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/io.h"
#include "engine/apparmor.h"
#include "engine/cgroup_features.h"
#include "engine/host_info.h"
#include "wire/masked_url.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr std::string_view kIndexServer = "https://index.docker.io/v1/";

void AddMembers(Json* to, Json from) {
  for (auto& [name, value] : from.mutable_members()) to->Set(name, std::move(value));
}

Json CountsOf(Call& call) {
  int running = 0;
  int paused = 0;
  auto records = call.engine().List();
  for (const auto& record : records) {
    if (record->state.phase == Phase::kRunning) ++running;
    if (record->state.phase == Phase::kPaused) ++paused;
  }
  Result<std::vector<NamedImage>> images = call.engine().images().List();
  std::set<std::string> ids;
  if (images.ok()) {
    for (const NamedImage& image : *images) ids.insert(image.documents->id);
  }
  int total = static_cast<int>(records.size());
  return Json::MakeObject({{"Containers", total},
                           {"ContainersRunning", running},
                           {"ContainersPaused", paused},
                           {"ContainersStopped", total - running - paused},
                           {"Images", static_cast<int64_t>(ids.size())}});
}

bool ForwardsIpv4() {
  Result<std::string> text = ReadFile("/proc/sys/net/ipv4/ip_forward", 64);
  return text.ok() && text->starts_with("1");
}

Json LimitsOf(const CgroupFeatures& cgroups) {
  Json out = Json::MakeObject({{"MemoryLimit", cgroups.memory},
                               {"SwapLimit", cgroups.swap},
                               {"CpuCfsPeriod", cgroups.cpu_quota},
                               {"CpuCfsQuota", cgroups.cpu_quota},
                               {"CPUShares", cgroups.cpu_shares},
                               {"CPUSet", cgroups.cpuset},
                               {"PidsLimit", cgroups.pids},
                               {"IPv4Forwarding", ForwardsIpv4()},
                               {"BridgeNfIptables", false},
                               {"BridgeNfIp6tables", false},
                               {"OomKillDisable", cgroups.oom_kill_disable},
                               {"CgroupDriver", "cgroupfs"},
                               {"CgroupVersion", cgroups.unified ? "2" : "1"}});
  if (cgroups.kernel_memory) out.Set("KernelMemory", true);
  if (cgroups.kernel_memory_tcp) out.Set("KernelMemoryTCP", true);
  return out;
}

Json HostOf(const HostInfo& host) {
  return Json::MakeObject({{"NFd", host.open_descriptors},
                           {"NGoroutines", host.threads},
                           {"SystemTime", FormatRfc3339Nano(WallClock::now())},
                           {"KernelVersion", host.kernel_version},
                           {"OperatingSystem", host.operating_system},
                           {"OSVersion", host.os_version},
                           {"OSType", "linux"},
                           {"Architecture", host.machine},
                           {"NCPU", host.cpus},
                           {"MemTotal", host.memory_bytes},
                           {"Name", host.hostname}});
}

Json IndexConfig(const std::string& name, const std::vector<std::string>& mirrors, bool secure,
                 bool official) {
  return Json::MakeObject(
      {{"Name", name}, {"Mirrors", Json(mirrors)}, {"Secure", secure}, {"Official", official}});
}

Json RegistriesOf(const Settings& settings) {
  Json indexes = Json::MakeObject(
      {{"docker.io", IndexConfig("docker.io", settings.registry_mirrors, true, true)}});
  for (const std::string& host : settings.insecure_registries) {
    indexes.Set(host, IndexConfig(host, {}, false, false));
  }
  return Json::MakeObject({{"AllowNondistributableArtifactsCIDRs", Json()},
                           {"AllowNondistributableArtifactsHostnames", Json()},
                           {"InsecureRegistryCIDRs", Json::MakeArray({"::1/128", "127.0.0.0/8"})},
                           {"IndexConfigs", std::move(indexes)},
                           {"Mirrors", Json(settings.registry_mirrors)}});
}

Json RuntimesOf(const Settings& settings) {
  Json runtimes = Json::MakeObject();
  auto add = [&](const std::string& name, const std::string& path,
                 const std::vector<std::string>& arguments) {
    Json entry = Json::MakeObject({{"path", path}});
    if (!arguments.empty()) entry.Set("runtimeArgs", arguments);
    entry.Set("status", Json::MakeObject());
    runtimes.Set(name, std::move(entry));
  };
  add(std::string(kBuiltInRuntime), "gantry-runtime", {});
  for (const auto& [name, runtime] : settings.runtimes) {
    add(name, runtime.path, runtime.arguments);
  }
  return runtimes;
}

Json SecurityOptionsOf(const Settings& settings, const CgroupFeatures& cgroups, bool remaps_users) {
  Json out = Json::MakeArray();
  if (HostUsesAppArmor()) out.Append("name=apparmor");
  const std::string& profile = settings.seccomp_path;
  out.Append("name=seccomp,profile=" + (profile.empty() ? "builtin" : profile));
  if (remaps_users) out.Append("name=userns");
  if (cgroups.unified) out.Append("name=cgroupns");
  if (settings.no_new_privileges) out.Append("name=no-new-privileges");
  return out;
}

Json SettingsOf(const Settings& settings, const CgroupFeatures& cgroups, bool remaps_users) {
  return Json::MakeObject(
      {{"Debug", settings.debug},
       {"ExperimentalBuild", settings.experimental},
       {"LoggingDriver", settings.log.type},
       {"IndexServerAddress", kIndexServer},
       {"RegistryConfig", RegistriesOf(settings)},
       {"HttpProxy", wire::MaskCredentials(settings.http_proxy)},
       {"HttpsProxy", wire::MaskCredentials(settings.https_proxy)},
       {"NoProxy", settings.no_proxy},
       {"Labels", Json(settings.labels)},
       {"Runtimes", RuntimesOf(settings)},
       {"DefaultRuntime", settings.default_runtime},
       {"CDISpecDirs", Json(settings.cdi_spec_directories)},
       {"DiscoveredDevices", Json::MakeArray()},
       {"SecurityOptions", SecurityOptionsOf(settings, cgroups, remaps_users)}});
}

Json Commit(const std::string& version) {
  return Json::MakeObject({{"ID", version}, {"Expected", version}});
}

// The engine's own, and the plugins that networks are made by.
Json NetworkDriversOf(Engine& engine) {
  std::set<std::string> names = {"bridge", "cni", "host", "ipvlan", "macvlan", "null", "overlay"};
  for (const networks::Network& network : engine.networks().ListNetworks()) {
    if (network.is_plugin()) names.insert(network.driver);
  }
  Json out = Json::MakeArray();
  for (const std::string& name : names) out.Append(name);
  return out;
}

Json PartsOf(Call& call) {
  Result<std::string> daemon = call.engine().containerd().Version(std::chrono::seconds(2));
  const EngineOptions& options = call.engine().options();
  return Json::MakeObject(
      {{"ContainerdCommit", Commit(daemon.ok() ? *daemon : "")},
       {"RuncCommit", Commit(GANTRY_VERSION)},
       {"InitCommit", Commit(GANTRY_VERSION)},
       {"InitBinary", "gantry-init"},
       {"Containerd",
        Json::MakeObject(
            {{"Address", options.containerd_address},
             {"Namespaces",
              Json::MakeObject({{"Containers", options.containerd_namespace}, {"Plugins", ""}})}})},
       {"FirewallBackend", Json::MakeObject({{"Driver", "nftables"}})},
       {"ServerVersion", GANTRY_VERSION},
       {"ID", call.parts.engine_id},
       {"Driver", options.snapshotter},
       {"DriverStatus",
        Json::MakeArray({Json::MakeArray({"driver-type", "io.containerd.snapshotter.v1"})})},
       {"DockerRootDir", call.parts.data_root},
       {"Plugins",
        Json::MakeObject({{"Volume", Json::MakeArray({"local"})},
                          {"Network", NetworkDriversOf(call.engine())},
                          {"Authorization", Json()},
                          {"Log", Json::MakeArray({"fluentd", "gelf", "journald", "json-file",
                                                   "local", "syslog"})}})}});
}

// What docker has and this engine does not: always the same.
Json FixedMembers() {
  return Json::MakeObject({{"GenericResources", Json()},
                           {"LiveRestoreEnabled", true},
                           {"Isolation", ""},
                           {"Swarm", Json::MakeObject({{"NodeID", ""},
                                                       {"NodeAddr", ""},
                                                       {"LocalNodeState", "inactive"},
                                                       {"ControlAvailable", false},
                                                       {"Error", ""},
                                                       {"RemoteManagers", Json()}})}});
}

std::vector<std::string> AllWarnings(Call& call, const CgroupFeatures& cgroups) {
  std::vector<std::string> out;
  for (const std::string& host : call.parts.open_hosts) {
    std::string address = host.substr(host.find("://") + 3);
    out.push_back(fmt::format(
        "WARNING: API is accessible on http://{} without encryption.\n         Access to the "
        "remote API is equivalent to root access on the host. Refer\n         to the 'Docker "
        "daemon attack surface' section in the documentation for\n         more information: "
        "https://docs.docker.com/go/attack-surface/",
        address));
  }
  if (!call.engine().settings()->seccomp_path.empty()) {
    out.emplace_back("WARNING: daemon is not using the default seccomp profile");
  }
  for (std::string& warning : WarningsOf(cgroups)) out.push_back(std::move(warning));
  if (!ForwardsIpv4()) out.emplace_back("WARNING: IPv4 forwarding is disabled");
  return out;
}

}  // namespace

Result<> GetInfo(Call& call) {
  ActionTimer timer(call.engine().action_times(), "host system_info");
  std::shared_ptr<const Settings> settings = call.engine().settings();
  CgroupFeatures cgroups = TRY(ReadCgroupFeatures());
  Json out = Json::MakeObject();
  for (Json part : {PartsOf(call), CountsOf(call), LimitsOf(cgroups), HostOf(ReadHostInfo()),
                    SettingsOf(*settings, cgroups, call.engine().options().remap.has_value()),
                    FixedMembers()}) {
    AddMembers(&out, std::move(part));
  }
  out.Set("NEventsListener", call.parts.events.listeners());
  std::vector<std::string> warnings = AllWarnings(call, cgroups);
  out.Set("Warnings", warnings.empty() ? Json() : Json(warnings));
  timer.Done();
  return RespondJson(call, 200, std::move(out));
}

}  // namespace gantry::engine::api
