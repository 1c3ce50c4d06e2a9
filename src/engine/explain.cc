// SPDX-License-Identifier: Apache-2.0
#include "engine/explain.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <map>

#include "base/io.h"
#include "base/text.h"
#include "engine/mount_points.h"
#include "engine/stats.h"
#include "kernel/capability_names.h"

namespace gantry::engine {
namespace {

using formats::Json;

constexpr const char* kNamespaces[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};

std::string LinkTarget(const std::string& path) {
  char target[PATH_MAX];
  ssize_t size = ::readlink(path.c_str(), target, sizeof target);
  return size > 0 ? std::string(target, static_cast<size_t>(size)) : "";
}

// Values of /proc/PID/status by name (proc(5)); empty when the process is gone.
std::map<std::string, std::string> StatusOf(uint32_t pid) {
  std::map<std::string, std::string> values;
  Result<std::string> text = ReadFile(fmt::format("/proc/{}/status", pid));
  if (!text.ok()) return values;
  for (const std::string& line : Split(*text, '\n')) {
    size_t colon = line.find(":\t");
    if (colon != std::string::npos) values[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return values;
}

uint32_t ParentOf(uint32_t pid) {
  return static_cast<uint32_t>(std::strtoul(StatusOf(pid)["PPid"].c_str(), nullptr, 10));
}

std::string CommandLine(uint32_t pid) {
  Result<std::string> text = ReadFile(fmt::format("/proc/{}/cmdline", pid));
  if (!text.ok()) return "";
  while (!text->empty() && text->back() == '\0') text->pop_back();
  std::replace(text->begin(), text->end(), '\0', ' ');
  return *text;
}

// Who listens on the container daemon's socket: also right for one that we have not started.
uint32_t PidBehind(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return 0;
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return 0;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return 0;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return 0;
  return static_cast<uint32_t>(peer.pid);
}

Json ChainLink(std::string_view role, uint32_t pid) {
  return Json::MakeObject({{"Role", role}, {"Pid", pid}, {"Command", CommandLine(pid)}});
}

Json ChainOf(Engine& engine, const ContainerRecord& record) {
  Json chain = Json::MakeArray();
  chain.Append(ChainLink("engine", static_cast<uint32_t>(::getpid())));
  uint32_t daemon = PidBehind(engine.options().containerd_address);
  if (daemon != 0) chain.Append(ChainLink("container daemon", daemon));
  if (!record.state.IsAlive()) return chain;
  // The runtime has ended, so the kernel made the shim, a child subreaper, the init's parent.
  uint32_t shim = ParentOf(record.state.pid);
  if (shim > 1) chain.Append(ChainLink("shim", shim));
  chain.Append(ChainLink("init", record.state.pid));
  return chain;
}

Json ProcessesOf(Engine& engine, const ContainerRecord& record) {
  Json processes = Json::MakeArray();
  Result<std::vector<uint32_t>> pids = engine.containerd().Pids(record.id);
  if (!pids.ok()) return processes;
  for (uint32_t pid : *pids) {
    std::map<std::string, std::string> status = StatusOf(pid);
    if (status.empty()) continue;  // it has ended meanwhile
    std::vector<std::string> inside = SplitWords(status["NSpid"]);
    std::string command = CommandLine(pid);
    if (command.empty()) command = "[" + status["Name"] + "]";
    processes.Append(
        Json::MakeObject({{"Pid", pid},
                          {"Parent", ParentOf(pid)},
                          {"PidInside", inside.empty() ? 0 : std::atoi(inside.back().c_str())},
                          {"Uid", std::atoi(status["Uid"].c_str())},
                          {"Threads", std::atoi(status["Threads"].c_str())},
                          {"Memory", std::atoll(status["VmRSS"].c_str()) * 1024},
                          {"Command", command}}));
  }
  return processes;
}

Json NamespacesOf(const ContainerRecord& record) {
  Json namespaces = Json::MakeArray();
  for (const char* kind : kNamespaces) {
    std::string id = LinkTarget(fmt::format("/proc/{}/ns/{}", record.state.pid, kind));
    if (id.empty()) continue;
    bool shared = id == LinkTarget(fmt::format("/proc/self/ns/{}", kind));
    namespaces.Append(Json::MakeObject({{"Type", kind}, {"Id", id}, {"SharedWithEngine", shared}}));
  }
  return namespaces;
}

Json CgroupOf(const ContainerRecord& record) {
  Json paths = Json::MakeArray();
  Result<std::string> text = ReadFile(fmt::format("/proc/{}/cgroup", record.state.pid));
  if (text.ok()) {
    // "4:memory:/gantry/ID" of version 1, "0::/gantry/ID" of version 2 (cgroups(7)).
    for (const std::string& line : Split(*text, '\n')) {
      std::vector<std::string> fields = Split(line, ':');
      if (fields.size() < 3) continue;
      paths.Append(Json::MakeObject(
          {{"Controllers", fields[1].empty() ? "unified" : fields[1]}, {"Path", fields[2]}}));
    }
  }
  Json cgroup = Json::MakeObject({{"Paths", std::move(paths)}});
  Result<Json> stats = SampleStats(record);
  if (!stats.ok()) return cgroup;
  cgroup.Set("Use", Json::MakeObject(
                        {{"Memory", (*stats)["memory_stats"]["usage"]},
                         {"Pids", (*stats)["pids_stats"]["current"]},
                         {"CpuNanoseconds", (*stats)["cpu_stats"]["cpu_usage"]["total_usage"]}}));
  return cgroup;
}

Json LayersOf(Engine& engine, const ContainerRecord& record) {
  Json layers = Json::MakeArray();
  Result<NamedImage> image = engine.images().Resolve(record.image_id);
  if (!image.ok()) return layers;  // the image may be gone; the layers are the snapshot's alone
  const ImageDocuments& documents = *image->documents;
  std::vector<const oci::HistoryEntry*> steps;
  for (const oci::HistoryEntry& entry : documents.config.history) {
    if (!entry.empty_layer) steps.push_back(&entry);
  }
  std::vector<formats::Digest> chain = oci::ChainIds(documents.config.diff_ids);
  for (size_t i = 0; i < chain.size(); ++i) {
    Json layer = Json::MakeObject(
        {{"Digest", documents.config.diff_ids[i].text()}, {"Snapshot", chain[i].text()}});
    if (i < documents.manifest.layers.size()) {
      layer.Set("CompressedSize", documents.manifest.layers[i].size);
    }
    auto usage =
        engine.containerd().GetSnapshotUsage(engine.options().snapshotter, chain[i].text());
    if (usage.ok()) layer.Set("Size", usage->size);
    if (i < steps.size()) layer.Set("CreatedBy", steps[i]->created_by);
    layers.Append(std::move(layer));
  }
  return layers;
}

Json WritableOf(Engine& engine, const ContainerRecord& record) {
  Json writable = Json::MakeObject({{"Snapshotter", engine.options().snapshotter}});
  auto usage = engine.containerd().GetSnapshotUsage(engine.options().snapshotter, record.id);
  if (usage.ok()) writable.Set("Size", usage->size).Set("Inodes", usage->inodes);
  auto mounts = engine.containerd().SnapshotMounts(engine.options().snapshotter, record.id);
  if (!mounts.ok()) return writable;
  for (const client::Mount& mount : *mounts) {
    for (const std::string& option : mount.options) {
      if (option.substr(0, 9) == "upperdir=") writable.Set("Path", option.substr(9));
    }
  }
  return writable;
}

// What its init sees mounted, with where that comes from (proc_pid_mountinfo(5)).
Json MountsOf(const ContainerRecord& record) {
  Json mounts = Json::MakeArray();
  Result<std::string> text = ReadFile(fmt::format("/proc/{}/mountinfo", record.state.pid));
  if (!text.ok()) return mounts;
  std::map<std::string, std::string> sources;
  for (const MountPoint& point : record.mounts) sources[point.destination] = point.source;
  for (const std::string& line : Split(*text, '\n')) {
    std::vector<std::string> fields = SplitWords(line);
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || fields.end() - dash < 4) continue;
    const std::string& destination = fields[4];
    auto known = sources.find(destination);
    // A bind mount's root is the path within its file system.
    std::string source = known != sources.end() ? known->second
                         : fields[3] != "/"     ? fields[3]
                                                : dash[2];
    mounts.Append(Json::MakeObject({{"Destination", destination},
                                    {"Type", dash[1]},
                                    {"Source", source},
                                    {"Options", fields[5]},
                                    {"Own", known != sources.end()}}));
  }
  return mounts;
}

bool IsLoopback(const std::string& host_ip) {
  return host_ip.starts_with("127.") || host_ip == "::1";
}

// From where a published port can be reached.
std::string_view ExposedTo(const std::string& host_ip) {
  if (host_ip.empty() || host_ip == "0.0.0.0") return "everybody who reaches this host (IPv4)";
  if (host_ip == "::") return "everybody who reaches this host (IPv6)";
  if (IsLoopback(host_ip)) return "this host only";
  return "whoever reaches this address of the host";
}

// Who leads a published port to the container (docs/firewall.md, docs/port-proxy.md).
std::string RuleOf(const networks::Options& options, const networks::Endpoint& endpoint,
                   const networks::PublishedPort& port) {
  bool ipv6 = port.host_ip.find(':') != std::string::npos;
  bool has_rule = options.firewall.backend != networks::FirewallBackend::kNone &&
                  (ipv6 ? options.firewall.families.ipv6 : options.firewall.families.ipv4) &&
                  !IsLoopback(port.host_ip) &&
                  (ipv6 ? endpoint.address6.has_value() : endpoint.has_ipv4());
  bool to_ipv6 = has_rule ? ipv6 : !endpoint.has_ipv4() && endpoint.address6.has_value();
  std::string target =
      to_ipv6 ? fmt::format("[{}]", endpoint.address6->ToString()) : endpoint.address.ToString();
  std::string rule =
      options.firewall.backend == networks::FirewallBackend::kIptables
          ? fmt::format("{} chain GANTRYD-{}", ipv6 ? "ip6tables" : "iptables", options.bridge)
          : fmt::format("nft table {} gantry-{}", ipv6 ? "ip6" : "ip", options.bridge);
  std::string_view protocol = networks::ProtocolName(port.protocol);
  if (port.host_port == 0) {
    return fmt::format("{}: {} port {} at {} itself", rule, protocol, port.container_port, target);
  }
  std::string way =
      fmt::format("{} port {} to {}:{}", protocol, port.host_port, target, port.container_port);
  if (!has_rule) return "gantry-proxy: " + way;
  return fmt::format("{}: {}; gantry-proxy for this host itself", rule, way);
}

// Of both families, where there are both.
std::string Joined(const std::string& ipv4, const std::string& ipv6) {
  return ipv4 + (ipv4.empty() || ipv6.empty() ? "" : ", ") + ipv6;
}

Json NetworkOf(Engine& engine, const ContainerRecord& record) {
  Json endpoints = Json::MakeArray();
  for (const networks::Endpoint& endpoint : engine.networks().EndpointsOf(record.id)) {
    Result<networks::Network> network = engine.networks().InspectNetwork(endpoint.network_id);
    Json ports = Json::MakeArray();
    for (const networks::PublishedPort& port : endpoint.ports) {
      std::string_view protocol = networks::ProtocolName(port.protocol);
      ports.Append(Json::MakeObject({{"HostIp", port.host_ip},
                                     {"HostPort", int{port.host_port}},
                                     {"ContainerPort", int{port.container_port}},
                                     {"Protocol", protocol},
                                     {"Rule", RuleOf(engine.options().networks, endpoint, port)},
                                     {"ExposedTo", ExposedTo(port.host_ip)}}));
    }
    endpoints.Append(Json::MakeObject(
        {{"Network", endpoint.network_name},
         {"Bridge", network.ok() ? network->bridge : ""},
         {"Veth", endpoint.host_link},
         {"Interface", endpoint.interface},
         {"Address", Joined(endpoint.has_ipv4() ? fmt::format("{}/{}", endpoint.address.ToString(),
                                                              endpoint.prefix_length)
                                                : "",
                            endpoint.address6 ? fmt::format("{}/{}", endpoint.address6->ToString(),
                                                            endpoint.prefix_length6)
                                              : "")},
         {"Gateway", Joined(endpoint.gateway.IsUnspecified() ? "" : endpoint.gateway.ToString(),
                            endpoint.gateway6 ? endpoint.gateway6->ToString() : "")},
         {"Mac", endpoint.mac.ToString()},
         {"Namespace", endpoint.netns_path},
         {"Ports", std::move(ports)}}));
  }
  return Json::MakeObject(
      {{"Mode", record.host.network_mode}, {"Endpoints", std::move(endpoints)}});
}

Json SecurityOf(const ContainerRecord& record) {
  std::map<std::string, std::string> status = StatusOf(record.state.pid);
  uint64_t effective = std::strtoull(status["CapEff"].c_str(), nullptr, 16);
  Json capabilities = Json::MakeArray();
  std::span<const std::string_view> names = kernel::CapabilityNames();
  for (size_t i = 0; i < names.size(); ++i) {
    if ((effective >> i & 1) != 0) capabilities.Append(names[i]);
  }
  int mode = std::atoi(status["Seccomp"].c_str());
  Result<std::string> label =
      ReadFile(fmt::format("/proc/{}/attr/apparmor/current", record.state.pid));
  std::string profile = label.ok() ? *label : "";
  while (!profile.empty() && (profile.back() == '\n' || profile.back() == '\0')) profile.pop_back();
  return Json::MakeObject({{"Privileged", record.host.privileged},
                           {"Capabilities", std::move(capabilities)},
                           {"Seccomp", mode == 2   ? "filter"
                                       : mode == 1 ? "strict"
                                                   : "off"},
                           {"SeccompFilters", std::atoi(status["Seccomp_filters"].c_str())},
                           {"NoNewPrivileges", status["NoNewPrivs"] == "1"},
                           {"AppArmor", profile},
                           {"ReadonlyRootfs", record.host.readonly_rootfs}});
}

Json LogOf(Engine& engine, const ContainerRecord& record) {
  std::string path = engine.LogPath(record.id);
  struct stat status{};
  bool there = ::stat(path.c_str(), &status) == 0;
  Json log = Json::MakeObject({{"Driver", record.host.log_config.type}});
  if (there) log.Set("Path", path).Set("Size", int64_t{status.st_size});
  return log;
}

}  // namespace

Result<Json> ExplainContainer(Engine& engine, const ContainerRecord& record) {
  Json page = Json::MakeObject({{"Id", record.id},
                                {"Name", record.name},
                                {"Image", record.config.image},
                                {"ImageId", record.image_id},
                                {"State", PhaseName(record.state.ShownPhase())}});
  page.Set("Chain", ChainOf(engine, record));
  if (record.state.IsAlive()) {
    page.Set("Processes", ProcessesOf(engine, record));
    page.Set("Namespaces", NamespacesOf(record));
    Json cgroup = CgroupOf(record);
    cgroup.Set("Limits", Json::MakeObject({{"Memory", record.host.memory},
                                           {"NanoCpus", record.host.nano_cpus},
                                           {"Pids", record.host.pids_limit.value_or(0)}}));
    page.Set("Cgroup", std::move(cgroup));
    page.Set("Mounts", MountsOf(record));
    page.Set("Security", SecurityOf(record));
  }
  page.Set("Layers", LayersOf(engine, record));
  page.Set("Writable", WritableOf(engine, record));
  page.Set("Network", NetworkOf(engine, record));
  page.Set("Log", LogOf(engine, record));
  return page;
}

}  // namespace gantry::engine
