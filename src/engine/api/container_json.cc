// SPDX-License-Identifier: Apache-2.0
#include "engine/api/container_json.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/apparmor.h"
#include "engine/links.h"
#include "engine/mount_points.h"
#include "engine/network_list.h"
#include "formats/human_units.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

Json OrNull(Json value) { return value.size() == 0 ? Json() : value; }

template <typename Address>
std::string TextOf(const Address& address) {
  return address.IsUnspecified() ? "" : address.ToString();
}

// One entry of NetworkSettings.Networks; without an endpoint the fields are empty, as for a
// container that does not run.
Json NetworkEntry(const networks::Endpoint* endpoint, const EndpointConfig* wanted) {
  Json ipam;
  Json links;
  Json options;
  if (wanted != nullptr) {
    Json asked = ToJson(*wanted);
    ipam = asked["IPAMConfig"];
    links = OrNull(asked["Links"]);
    options = OrNull(asked["DriverOpts"]);
  }
  bool up = endpoint != nullptr;
  auto address6 = up ? endpoint->address6.value_or(formats::Ipv6Address{}) : formats::Ipv6Address{};
  auto gateway6 = up ? endpoint->gateway6.value_or(formats::Ipv6Address{}) : formats::Ipv6Address{};
  return Json::MakeObject({{"IPAMConfig", ipam},
                           {"Links", links},
                           {"Aliases", Json()},
                           {"MacAddress", up ? endpoint->mac.ToString() : ""},
                           {"DriverOpts", options},
                           {"GwPriority", wanted != nullptr ? wanted->gateway_priority : 0},
                           {"NetworkID", up ? endpoint->network_id : ""},
                           {"EndpointID", up ? endpoint->id : ""},
                           {"Gateway", up ? TextOf(endpoint->gateway) : ""},
                           {"IPAddress", up ? TextOf(endpoint->address) : ""},
                           {"IPPrefixLen", up ? int{endpoint->prefix_length} : 0},
                           {"IPv6Gateway", TextOf(gateway6)},
                           {"GlobalIPv6Address", TextOf(address6)},
                           {"GlobalIPv6PrefixLen", up ? int{endpoint->prefix_length6} : 0},
                           {"DNSNames", Json()}});
}

Json NetworkEntryOf(Engine& engine, const ContainerRecord& record, const std::string& name,
                    const EndpointConfig& wanted,
                    const std::vector<networks::Endpoint>& endpoints) {
  auto found = std::find_if(endpoints.begin(), endpoints.end(),
                            [&](const auto& item) { return item.network_name == name; });
  Json entry = NetworkEntry(found == endpoints.end() ? nullptr : &*found, &wanted);
  auto network = FindNetwork(engine.networks(), name);
  if (network.ok() && IsSpecial(*network) && record.state.IsAlive()) {
    entry.Set("NetworkID", network->id);
    entry.Set("EndpointID", SpecialEndpointId(record.id, *network));
  } else if (found == endpoints.end()) {
    entry.Set("NetworkID", wanted.network_id);
    // What was asked for, until an end takes away what the endpoint had.
    if (!record.state.has_been_started) entry.Set("MacAddress", wanted.mac_address);
  }
  bool user_defined = network.ok() && IsUserDefined(*network);
  bool been_there = found != endpoints.end() || !wanted.aliases.empty();
  if (!wanted.aliases.empty()) entry.Set("Aliases", wanted.aliases);
  if (user_defined && been_there) {
    std::vector<std::string> names = Engine::AliasesOf(record, wanted);
    names.insert(names.begin(), record.name);
    entry.Set("DNSNames", names);
  }
  return entry;
}

Json NetworksObject(Engine& engine, const ContainerRecord& record,
                    const std::vector<networks::Endpoint>& endpoints) {
  Json out = Json::MakeObject();
  for (const auto& [name, wanted] : record.networking.endpoints_config) {
    out.Set(name, NetworkEntryOf(engine, record, name, wanted, endpoints));
  }
  return out;
}

std::string PortKey(const networks::PublishedPort& port) {
  return fmt::format("{}/{}", port.container_port, networks::ProtocolName(port.protocol));
}

// NetworkSettings.Ports: exposed ports that are not published are null.
Json PortsObject(const ContainerRecord& record, const std::vector<networks::Endpoint>& endpoints) {
  Json out = Json::MakeObject();
  if (!record.state.IsAlive()) return out;
  std::map<std::string, Json> ports;  // by name, as Go writes its maps
  for (const std::string& port : record.config.exposed_ports.names) ports[port] = Json();
  for (const networks::Endpoint& endpoint : endpoints) {
    for (const networks::PublishedPort& port : endpoint.AllPorts()) {
      ports[PortKey(port)].Append(Json::MakeObject(
          {{"HostIp", port.host_ip},
           {"HostPort", port.host_port == 0 ? "" : std::to_string(port.host_port)}}));
    }
  }
  for (auto& [name, bindings] : ports) out.Set(name, std::move(bindings));
  return out;
}

Json MountsList(const ContainerRecord& record) {
  Json out = Json::MakeArray();
  for (const MountPoint& point : record.mounts) {
    Json mount = Json::MakeObject({{"Type", point.type}});
    if (!point.name.empty()) mount.Set("Name", point.name);
    mount.Set("Source", point.source);
    mount.Set("Destination", point.destination);
    if (!point.driver.empty()) mount.Set("Driver", point.driver);
    mount.Set("Mode", point.mode);
    mount.Set("RW", point.writable);
    mount.Set("Propagation", point.propagation);
    out.Append(std::move(mount));
  }
  return out;
}

Json HealthObject(const Health& health) {
  Json log = Json::MakeArray();
  for (const ProbeResult& result : health.log) {
    log.Append(Json::MakeObject({{"Start", TimeText(result.start)},
                                 {"End", TimeText(result.end)},
                                 {"ExitCode", result.exit_code},
                                 {"Output", result.output}}));
  }
  return Json::MakeObject({{"Status", HealthStatusName(health.status)},
                           {"FailingStreak", health.failing_streak},
                           {"Log", std::move(log)}});
}

Json StateObject(const ContainerState& state) {
  Phase phase = state.ShownPhase();
  Json out = Json::MakeObject({{"Status", PhaseName(phase)},
                               {"Running", state.IsAlive() || phase == Phase::kRestarting},
                               {"Paused", phase == Phase::kPaused},
                               {"Restarting", phase == Phase::kRestarting},
                               {"OOMKilled", state.oom_killed},
                               {"Dead", phase == Phase::kDead},
                               {"Pid", state.IsAlive() ? state.pid : 0},
                               {"ExitCode", state.exit_code},
                               {"Error", state.error},
                               {"StartedAt", TimeText(state.started_at)},
                               {"FinishedAt", TimeText(state.finished_at)}});
  if (state.health) out.Set("Health", HealthObject(*state.health));
  return out;
}

Json NetworkSettings(Engine& engine, const ContainerRecord& record) {
  std::vector<networks::Endpoint> endpoints = engine.networks().EndpointsOf(record.id);
  Json ports = PortsObject(record, endpoints);
  Json all = NetworksObject(engine, record, endpoints);
  const networks::Endpoint* first = endpoints.empty() ? nullptr : &endpoints.front();
  // These fields are of the default network alone.
  auto bridge = std::find_if(endpoints.begin(), endpoints.end(),
                             [](const auto& item) { return item.network_name == "bridge"; });
  Json out = NetworkEntry(bridge == endpoints.end() ? nullptr : &*bridge, nullptr);
  for (const char* only_inside :
       {"IPAMConfig", "Links", "Aliases", "DriverOpts", "NetworkID", "DNSNames"}) {
    out.Erase(only_inside);
  }
  out.Set("Bridge", "");
  out.Set("SandboxID", record.state.IsAlive() ? record.id : "");
  out.Set("SandboxKey", first != nullptr ? first->netns_path : "");
  out.Set("HairpinMode", false);
  out.Set("LinkLocalIPv6Address", "");
  out.Set("LinkLocalIPv6PrefixLen", 0);
  out.Set("SecondaryIPAddresses", Json());
  out.Set("SecondaryIPv6Addresses", Json());
  out.Set("Ports", std::move(ports));
  out.Set("Networks", std::move(all));
  return out;
}

// Links are told as the names that they are known by: "/CHILD:/PARENT/ALIAS".
// Clients before 1.44 know an address of the container alone: that of its first network, if it was
// asked for.
Json ConfigObject(const ContainerRecord& record) {
  Json config = ToJson(record.config);
  const auto& wanted = record.networking.endpoints_config;
  auto first = wanted.find(NetworkName(record.host));
  bool asked = first != wanted.end() && !first->second.mac_address.empty();
  if (record.config.mac_address.empty() && asked) {
    config.Set("MacAddress", first->second.mac_address);
  }
  return config;
}

Json HostObject(const ContainerRecord& record) {
  Json out = ToJson(record.host);
  if (record.host.links.empty()) return out;
  Json links = Json::MakeArray();
  for (const std::string& link : record.host.links) {
    auto [name, alias] = ParseLink(link);
    links.Append(fmt::format("/{}:/{}/{}", name, record.name, alias));
  }
  out.Set("Links", std::move(links));
  return out;
}

Json StorageObject(const std::string& snapshotter) {
  Json snapshot = Json::MakeObject({{"Name", snapshotter}});
  return Json::MakeObject({{"RootFS", Json::MakeObject({{"Snapshot", std::move(snapshot)}})}});
}

Json HealthSummary(const ContainerState& state) {
  std::string_view status = state.health ? HealthStatusName(state.health->status) : "none";
  return Json::MakeObject(
      {{"Status", status}, {"FailingStreak", state.health ? state.health->failing_streak : 0}});
}

Json HostSummary(const HostConfig& host) {
  Json out = Json::MakeObject({{"NetworkMode", host.network_mode}});
  if (!host.annotations.empty()) out.Set("Annotations", host.annotations);
  return out;
}

std::string CommandText(const ContainerConfig& config) {
  std::string out;
  for (const std::string& word : FullCommand(config)) {
    if (!out.empty()) out += ' ';
    bool quote = word.find(' ') != std::string::npos;
    out += quote ? "'" + word + "'" : word;
  }
  return out;
}

}  // namespace

std::string TimeText(WallTime time) {
  return time == WallTime{} ? "0001-01-01T00:00:00Z" : FormatRfc3339Nano(time);
}

std::vector<std::string> FullCommand(const ContainerConfig& config) {
  std::vector<std::string> words = config.entrypoint.words;
  words.insert(words.end(), config.cmd.words.begin(), config.cmd.words.end());
  return words;
}

std::string StatusText(const ContainerState& state, WallTime now) {
  auto since = [&](WallTime time) { return formats::HumanDuration(now - time); };
  switch (state.ShownPhase()) {
    case Phase::kRunning: {
      std::string health;
      if (state.health) health = fmt::format(" ({})", HealthStatusName(state.health->status));
      if (state.health && state.health->status == HealthStatus::kStarting) {
        health = " (health: starting)";
      }
      return "Up " + since(state.started_at) + health;
    }
    case Phase::kPaused:
      return "Up " + since(state.started_at) + " (Paused)";
    case Phase::kRestarting:
      return fmt::format("Restarting ({}) {} ago", state.exit_code, since(state.finished_at));
    case Phase::kRemoving:
      return "Removal In Progress";
    case Phase::kDead:
      return "Dead";
    case Phase::kExited:
      return fmt::format("Exited ({}) {} ago", state.exit_code, since(state.finished_at));
    case Phase::kCreated:
    case Phase::kStarting:
      return "Created";
  }
  return "";
}

int64_t AddSizes(Engine& engine, const ContainerRecord& record, Json* entry) {
  Result<client::SnapshotUsage> usage =
      engine.containerd().GetSnapshotUsage(engine.options().snapshotter, record.id);
  int64_t own = usage.ok() ? usage->size : 0;
  int64_t below = 0;  // of an image that is gone nobody knows
  if (Result<NamedImage> image = engine.images().Resolve(record.image_id); image.ok()) {
    auto disk = engine.image_sizes().Of(*image->documents);
    if (disk.ok()) below = (*disk)->root;
  }
  entry->Set("SizeRw", own);
  entry->Set("SizeRootFs", own + below);
  return own;
}

Json PortsList(const ContainerRecord& record, const std::vector<networks::Endpoint>& endpoints) {
  Json out = Json::MakeArray();
  if (!record.state.IsAlive()) return out;
  std::vector<std::string> published;
  for (const networks::Endpoint& endpoint : endpoints) {
    for (const networks::PublishedPort& port : endpoint.AllPorts()) {
      published.push_back(PortKey(port));
      out.Append(Json::MakeObject({{"IP", port.host_ip},
                                   {"PrivatePort", int{port.container_port}},
                                   {"PublicPort", int{port.host_port}},
                                   {"Type", networks::ProtocolName(port.protocol)}}));
    }
  }
  for (const std::string& port : record.config.exposed_ports.names) {
    if (std::find(published.begin(), published.end(), port) != published.end()) continue;
    size_t slash = port.find('/');
    out.Append(
        Json::MakeObject({{"PrivatePort", std::atoi(port.c_str())},
                          {"Type", slash == std::string::npos ? "tcp" : port.substr(slash + 1)}}));
  }
  return out;
}

std::string ImageShown(Engine& engine, const ContainerRecord& record) {
  bool stands =
      record.image_name.empty() || engine.images().StandsFor(record.image_name, record.image_id);
  return stands ? record.config.image : record.image_id;
}

ListEntry ListEntryOf(Engine& engine, const ContainerRecord& record, const std::string& image,
                      const std::vector<networks::Endpoint>& endpoints) {
  ListEntry entry;
  entry.before = Json::MakeObject({{"Id", record.id},
                                   {"Names", Json::MakeArray({"/" + record.name})},
                                   {"Image", image},
                                   {"ImageID", record.image_id},
                                   {"Command", CommandText(record.config)},
                                   {"Created", UnixNanos(record.created) / 1'000'000'000},
                                   {"Ports", PortsList(record, endpoints)},
                                   {"Labels", record.config.labels},
                                   {"State", PhaseName(record.state.ShownPhase())}});
  entry.after = Json::MakeObject(
      {{"Health", HealthSummary(record.state)},
       {"HostConfig", HostSummary(record.host)},
       {"NetworkSettings",
        Json::MakeObject({{"Networks", NetworksObject(engine, record, endpoints)}})},
       {"Mounts", MountsList(record)}});
  return entry;
}

Json ListObject(Engine& engine, const ContainerRecord& record, WallTime now) {
  ListEntry entry = ListEntryOf(engine, record, ImageShown(engine, record),
                                engine.networks().EndpointsOf(record.id));
  Json out = std::move(entry.before);
  out.Set("Status", StatusText(record.state, now));
  for (auto& [name, value] : entry.after.mutable_members()) out.Set(name, std::move(value));
  return out;
}

Json InspectDocument(Engine& engine, const ContainerRecord& record,
                     const std::vector<std::string>& exec_ids) {
  std::vector<std::string> command = FullCommand(record.config);
  std::string path = command.empty() ? "" : command.front();
  if (!command.empty()) command.erase(command.begin());
  std::string directory = engine.ContainerDirectory(record.id);
  return Json::MakeObject(
      {{"Id", record.id},
       {"Created", TimeText(record.created)},
       {"Path", path},
       {"Args", command},
       {"State", StateObject(record.state)},
       {"Image", record.image_id},
       {"ResolvConfPath", directory + "/resolv.conf"},
       {"HostnamePath", directory + "/hostname"},
       {"HostsPath", directory + "/hosts"},
       {"LogPath", record.host.log_config.type == "json-file" ? engine.LogPath(record.id) : ""},
       {"Name", "/" + record.name},
       {"RestartCount", record.state.restart_count},
       {"Driver", engine.options().snapshotter},
       {"Platform", "linux"},
       {"MountLabel", ""},
       {"ProcessLabel", ""},
       {"AppArmorProfile", AppArmorProfileOf(record.host)},
       {"ExecIDs", exec_ids.empty() ? Json() : Json(exec_ids)},
       {"HostConfig", HostObject(record)},
       {"GraphDriver",
        Json::MakeObject({{"Data", Json()}, {"Name", engine.options().snapshotter}})},
       {"Storage", StorageObject(engine.options().snapshotter)},
       {"Mounts", MountsList(record)},
       {"Config", ConfigObject(record)},
       {"NetworkSettings", NetworkSettings(engine, record)}});
}

}  // namespace gantry::engine::api
