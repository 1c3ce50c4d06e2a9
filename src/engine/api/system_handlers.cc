// SPDX-License-Identifier: Apache-2.0
#include "engine/api/system_handlers.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/api/container_json.h"
#include "engine/host_info.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

Json Commit(const std::string& version) {
  return Json::MakeObject({{"ID", version}, {"Expected", version}});
}

std::string DaemonVersion(Call& call) {
  Result<std::string> version = call.engine().containerd().Version(std::chrono::seconds(2));
  return version.ok() ? *version : "";
}

}  // namespace

Result<> Ping(Call& call) {
  wire::HttpHeaders& headers = call.exchange.headers();
  headers.Set("Builder-Version", "1");
  headers.Set("Swarm", "inactive");
  headers.Set("Cache-Control", "no-cache, no-store, must-revalidate");
  headers.Set("Pragma", "no-cache");
  headers.Set("Content-Type", "text/plain; charset=utf-8");
  bool head = call.exchange.request().method == "HEAD";
  return call.exchange.Respond(200, head ? "" : "OK");
}

Result<> GetVersion(Call& call) {
  HostInfo host = ReadHostInfo();
  Json details = Json::MakeObject({{"ApiVersion", fmt::format("1.{}", kMaxMinor)},
                                   {"Arch", host.go_architecture},
                                   {"Experimental", "false"},
                                   {"GitCommit", ""},
                                   {"KernelVersion", host.kernel_version},
                                   {"MinAPIVersion", fmt::format("1.{}", kMinMinor)},
                                   {"Os", "linux"}});
  Json components = Json::MakeArray(
      {Json::MakeObject({{"Name", "Engine"}, {"Version", GANTRY_VERSION}, {"Details", details}})});
  std::string daemon = DaemonVersion(call);
  if (!daemon.empty()) {
    components.Append(Json::MakeObject(
        {{"Name", "containerd"}, {"Version", daemon}, {"Details", Json::MakeObject()}}));
  }
  return RespondJson(call, 200,
                     Json::MakeObject({{"Platform", Json::MakeObject({{"Name", "gantry"}})},
                                       {"Components", components},
                                       {"Version", GANTRY_VERSION},
                                       {"ApiVersion", fmt::format("1.{}", kMaxMinor)},
                                       {"MinAPIVersion", fmt::format("1.{}", kMinMinor)},
                                       {"GitCommit", ""},
                                       {"GoVersion", ""},
                                       {"Os", "linux"},
                                       {"Arch", host.go_architecture},
                                       {"KernelVersion", host.kernel_version}}));
}

Result<> GetInfo(Call& call) {
  HostInfo host = ReadHostInfo();
  int running = 0;
  int paused = 0;
  auto records = call.engine().List();
  for (const auto& record : records) {
    if (record->state.phase == Phase::kRunning) ++running;
    if (record->state.phase == Phase::kPaused) ++paused;
  }
  Result<std::vector<NamedImage>> images = call.engine().images().List();
  std::set<std::string> image_ids;
  if (images.ok()) {
    for (const NamedImage& image : *images) image_ids.insert(image.documents->id);
  }
  std::string daemon = DaemonVersion(call);
  int total = static_cast<int>(records.size());
  Json out = Json::MakeObject({
      {"ID", call.parts.engine_id},
      {"Containers", total},
      {"ContainersRunning", running},
      {"ContainersPaused", paused},
      {"ContainersStopped", total - running - paused},
      {"Images", static_cast<int64_t>(image_ids.size())},
      {"Driver", call.engine().options().snapshotter},
      {"DriverStatus",
       Json::MakeArray({Json::MakeArray({"driver-type", "io.containerd.snapshotter.v1"})})},
      {"Plugins", Json::MakeObject({{"Volume", Json::MakeArray({"local"})},
                                    {"Network", Json::MakeArray({"bridge", "host", "null"})},
                                    {"Authorization", Json()},
                                    {"Log", Json::MakeArray({"json-file", "none"})}})},
      {"MemoryLimit", true},
      {"SwapLimit", true},
      {"CpuCfsPeriod", true},
      {"CpuCfsQuota", true},
      {"CPUShares", true},
      {"CPUSet", true},
      {"PidsLimit", true},
      {"IPv4Forwarding", true},
      {"BridgeNfIptables", false},
      {"BridgeNfIp6tables", false},
      {"Debug", false},
      {"OomKillDisable", !host.unified_cgroups},
      {"NFd", host.open_descriptors},
      {"NGoroutines", host.threads},
      {"SystemTime", FormatRfc3339Nano(WallClock::now())},
      {"LoggingDriver", "json-file"},
      {"CgroupDriver", "cgroupfs"},
      {"CgroupVersion", host.unified_cgroups ? "2" : "1"},
      {"NEventsListener", 0},
      {"KernelVersion", host.kernel_version},
      {"OperatingSystem", host.operating_system},
      {"OSVersion", host.os_version},
      {"OSType", "linux"},
      {"Architecture", host.machine},
      {"IndexServerAddress", "https://index.docker.io/v1/"},
      {"RegistryConfig",
       Json::MakeObject({{"AllowNondistributableArtifactsCIDRs", Json::MakeArray()},
                         {"AllowNondistributableArtifactsHostnames", Json::MakeArray()},
                         {"InsecureRegistryCIDRs", Json::MakeArray({"127.0.0.0/8"})},
                         {"IndexConfigs", Json::MakeObject()},
                         {"Mirrors", Json::MakeArray()}})},
      {"NCPU", host.cpus},
      {"MemTotal", host.memory_bytes},
      {"GenericResources", Json()},
      {"DockerRootDir", call.parts.data_root},
      {"HttpProxy", ""},
      {"HttpsProxy", ""},
      {"NoProxy", ""},
      {"Name", host.hostname},
      {"Labels", Json::MakeArray()},
      {"ExperimentalBuild", false},
      {"ServerVersion", GANTRY_VERSION},
      {"Runtimes", Json::MakeObject({{"gantry", Json::MakeObject({{"path", "gantry-runtime"}})}})},
      {"DefaultRuntime", "gantry"},
      {"Swarm", Json::MakeObject({{"NodeID", ""},
                                  {"NodeAddr", ""},
                                  {"LocalNodeState", "inactive"},
                                  {"ControlAvailable", false},
                                  {"Error", ""},
                                  {"RemoteManagers", Json()}})},
      {"LiveRestoreEnabled", true},
      {"Isolation", ""},
      {"InitBinary", "gantry-init"},
      {"ContainerdCommit", Commit(daemon)},
      {"RuncCommit", Commit(GANTRY_VERSION)},
      {"InitCommit", Commit(GANTRY_VERSION)},
      {"SecurityOptions", Json::MakeArray({"name=seccomp,profile=builtin"})},
      {"Warnings", Json()},
  });
  return RespondJson(call, 200, out);
}

Result<> GetDiskUsage(Call& call) {
  const std::string& snapshotter = call.engine().options().snapshotter;
  WallTime now = WallClock::now();
  Json containers = Json::MakeArray();
  for (const auto& record : call.engine().List()) {
    Json entry = ListEntry(call.engine(), *record, now);
    Result<client::SnapshotUsage> usage =
        call.engine().containerd().GetSnapshotUsage(snapshotter, record->id);
    entry.Set("SizeRw", usage.ok() ? usage->size : 0);
    containers.Append(std::move(entry));
  }
  std::set<std::string> seen;
  int64_t layers = 0;
  Json images = Json::MakeArray();
  for (const NamedImage& image : TRY(call.engine().images().List())) {
    if (!seen.insert(image.documents->id).second) continue;
    auto records = call.engine().List();
    int64_t users = std::count_if(records.begin(), records.end(), [&](const auto& record) {
      return record->image_id == image.documents->id;
    });
    layers += image.documents->size;
    images.Append(Json::MakeObject({{"Id", image.documents->id},
                                    {"ParentId", ""},
                                    {"RepoTags", Json::MakeArray()},
                                    {"RepoDigests", Json::MakeArray()},
                                    {"Created", 0},
                                    {"Size", image.documents->size},
                                    {"SharedSize", 0},
                                    {"Labels", Json()},
                                    {"Containers", users}}));
  }
  return RespondJson(call, 200,
                     Json::MakeObject({{"LayersSize", layers},
                                       {"Images", images},
                                       {"Containers", containers},
                                       {"Volumes", Json::MakeArray()},
                                       {"BuildCache", Json()},
                                       {"BuilderSize", 0}}));
}

}  // namespace gantry::engine::api
