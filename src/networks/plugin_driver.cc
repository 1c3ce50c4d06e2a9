// SPDX-License-Identifier: Apache-2.0
//
// Networks whose driver is a plugin (docker's NetworkDriver protocol): it is told of networks and
// endpoints, makes an interface on the host and says how that is called; the engine takes it into
// the container's namespace and gives it back before the endpoint is deleted.
//
//   network create       GetCapabilities … record … CreateNetwork … record: it was told
//   start, connect       record … CreateEndpoint … Join … the interface is taken
//   stop, disconnect     RevokeExternalConnectivity, Leave … it goes back … DeleteEndpoint … record
//   network rm           record: it is not told … DeleteNetwork … record gone
//
// A record that says less than what was done is what a kill leaves, and the next start takes that
// back. Plugins are asked without the lock that concerns whole networks: one that hangs holds up
// its own networks alone.
#include <fcntl.h>

#include <set>

#include "base/log.h"
#include "kernel/rtnetlink.h"
#include "kernel/taken_links.h"
#include "networks/controller.h"
#include "networks/plugin_texts.h"

namespace gantry::networks {

using formats::Json;

namespace {

constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";

Json Named(const Endpoint& endpoint) {
  return Json::MakeObject({{"NetworkID", endpoint.network_id}, {"EndpointID", endpoint.id}});
}

// Some know no such method, as docker allows.
Result<> Optional(const Result<Json>& answer) {
  if (answer.ok() || answer.error().kind() == ErrorKind::kUnimplemented) return {};
  return answer.error();
}

Result<> AppendPluginRoute(const PluginRoute& route, int index, kernel::NetlinkBatch* batch) {
  if (route.destination.find(':') == std::string::npos) {
    auto subnet = TRY(formats::Ipv4Prefix::Parse(route.destination));
    std::optional<in_addr> gateway;
    if (!route.gateway.empty()) gateway = InAddr(TRY(formats::Ipv4Address::Parse(route.gateway)));
    kernel::AppendRoute(batch, index, InAddr(subnet.network), subnet.length, gateway);
    return {};
  }
  auto subnet = TRY(formats::Ipv6Prefix::Parse(route.destination));
  std::optional<in6_addr> gateway;
  if (!route.gateway.empty()) gateway = InAddr6(TRY(formats::Ipv6Address::Parse(route.gateway)));
  kernel::AppendRoute6(batch, index, InAddr6(subnet.network), subnet.length, gateway);
  return {};
}

// Without addresses there is no subnet, and what docker's own drivers make has addresses.
Result<> CheckNoIpam(const NetworkRequest& request, bool by_plugin) {
  if (request.subnet || request.subnet6 || !request.more.empty() || !request.more6.empty()) {
    return InvalidArgument("null ipam driver does not handle specific address pool requests");
  }
  if (by_plugin) return {};
  return InvalidArgument("{} pool is empty", request.ipv4 ? "ipv4" : "ipv6");
}

}  // namespace

Result<Network> KernelController::CreateWithPlugins(const NetworkRequest& request) {
  if (request.name.empty()) return InvalidArgument("network name is missing");
  if (!request.ipv4 && !request.ipv6) return InvalidArgument("IPv4 or IPv6 must be enabled");
  bool by_plugin = !IsBuiltInDriver(request.driver);
  if (request.ipam_driver == kNoIpam) TRY(CheckNoIpam(request, by_plugin));
  bool fits = by_plugin || request.driver == "bridge" || request.driver == "macvlan" ||
              request.driver == "ipvlan";
  if (!fits) {
    return InvalidArgument("network {}: the driver {} does not go with the IPAM driver {}",
                           request.name, request.driver, request.ipam_driver);
  }
  if (by_plugin) {
    TRY(CallPlugin(request.driver, kNetworkPlugin, "GetCapabilities", Json::MakeObject()));
  }
  NetworkRequest wanted = request;
  Network pools;
  pools.ipam_driver = request.ipam_driver;
  Undo undo;
  undo.Push([&] {
    auto released = ReleasePools(pools);
    if (!released.ok()) log::Warning("undoing a network: {}", released.error().message());
  });
  TRY(RequestPools(&wanted, &pools));
  Network network = TRY(AddWithPools(wanted, pools));
  undo.Commit();
  auto told = TellPluginOf(&network);
  if (told.ok()) return network;
  UndoNetwork(network);
  return std::move(told).error();
}

// On the host. Its plugin is told next.
Result<Network> KernelController::AddWithPools(const NetworkRequest& request,
                                               const Network& pools) {
  std::unique_lock<std::shared_mutex> alone(operations_);
  Network network = TRY(NamedNetwork(request));
  network.pool = pools.pool;
  network.pool6 = pools.pool6;
  network.ipam_wants_mac = pools.ipam_wants_mac;
  network.ipam_wants_replay = pools.ipam_wants_replay;
  TRY(PlaceNetwork(request, &network));
  TRY(AddNetwork(network));
  {
    MutexLock lock(mutex_);
    networks_.at(network.id).plugin_busy = true;
  }
  auto set_up = SetUp(network);
  if (set_up.ok()) return network;
  // The caller gives the pools back.
  auto undone = ForgetNetwork(network);
  if (!undone.ok()) log::Warning("undoing a network: {}", undone.error().message());
  return std::move(set_up).error();
}

Result<> KernelController::RememberNetwork(const Network& network, bool busy) {
  TRY(options_.records->PutNetwork(network));
  MutexLock lock(mutex_);
  NetworkState& state = networks_.at(network.id);
  state.network = network;
  state.plugin_busy = busy;
  return {};
}

Result<> KernelController::TellPluginOf(Network* network) {
  if (network->is_plugin()) {
    TRY(CallPlugin(network->driver, kNetworkPlugin, "CreateNetwork", PluginNetwork(*network)));
  }
  network->plugin_made = true;
  return RememberNetwork(*network, /*busy=*/false);
}

// One whose plugin did not say yes.
void KernelController::UndoNetwork(const Network& network) {
  auto note = [](Result<> result) {
    if (!result.ok()) log::Warning("undoing a network: {}", result.error().message());
  };
  if (network.is_plugin()) {
    // It may have been made all the same; where it was not that is no news.
    Json named = Json::MakeObject({{"NetworkID", network.id}});
    auto deleted = CallPlugin(network.driver, kNetworkPlugin, "DeleteNetwork", named);
    if (!deleted.ok()) log::Debug("undoing a network: {}", deleted.error().message());
  }
  note(ReleasePools(network));
  std::unique_lock<std::shared_mutex> alone(operations_);
  note(ForgetNetwork(network));
}

// Before it is forgotten here. One with endpoints is left alone: that is an error later on.
Result<> KernelController::ForgetByPlugins(Network network) {
  {
    std::unique_lock<std::shared_mutex> alone(operations_);
    network = TRY(InspectNetwork(network.id));
    if (!ListEndpoints(network.id).empty()) return {};
    network.plugin_made = false;
    TRY(RememberNetwork(network, /*busy=*/true));
  }
  if (network.is_plugin()) {
    Json named = Json::MakeObject({{"NetworkID", network.id}});
    auto deleted = CallPlugin(network.driver, kNetworkPlugin, "DeleteNetwork", named);
    // Its own no hinders nobody, as in docker.
    if (!deleted.ok() && IsAbsent(deleted.error())) {
      network.plugin_made = true;
      TRY(RememberNetwork(network, /*busy=*/false));
      return std::move(deleted).error().AddContext("error while removing network");
    }
    if (!deleted.ok()) log::Warning("{}", deleted.error().message());
  }
  auto released = ReleasePools(network);
  if (released.ok()) return {};
  TRY(RememberNetwork(network, /*busy=*/false));
  return std::move(released).error().AddContext("error while removing network");
}

// What a kill left while plugins were told that networks come or go. Alone.
void KernelController::FinishPluginNetworks(ReconcileReport* report) {
  std::set<std::string> absent;
  for (const Network& network : ListNetworks()) {
    {
      MutexLock lock(mutex_);
      if (networks_.at(network.id).plugin_busy) continue;
    }
    bool half = network.is_plugin() && !network.plugin_made && !absent.contains(network.driver);
    if (!half || !ListEndpoints(network.id).empty()) continue;
    Json named = Json::MakeObject({{"NetworkID", network.id}});
    auto deleted = CallPlugin(network.driver, kNetworkPlugin, "DeleteNetwork", named);
    Result<> gone = !deleted.ok() && IsAbsent(deleted.error()) ? Result<>(deleted.error())
                                                               : ReleasePools(network);
    if (gone.ok()) gone = ForgetNetwork(network);
    if (!gone.ok()) absent.insert(network.driver);
    report->changes.push_back(
        gone.ok()
            ? fmt::format("network {} removed: it was half made", network.name)
            : fmt::format("network {} is half made: {}", network.name, gone.error().message()));
  }
}

// The endpoint's record is there. What is done of it DeleteByPlugin takes back.
Result<> KernelController::AddByPlugin(Endpoint* endpoint, kernel::NetNamespace* netns) {
  Network network = TRY(InspectNetwork(endpoint->network_id));
  endpoint->plugin_link.clear();
  TRY(CreateAtPlugin(endpoint));
  Json request = Named(*endpoint);
  request.Set("SandboxKey", endpoint->netns_path);
  request.Set("Options", TRY(Json::Parse(endpoint->plugin_options)));
  Json joined = TRY(CallPlugin(network.driver, kNetworkPlugin, "Join", request));
  PluginJoin join = TRY_WITH(ReadPluginJoin(joined), "plugin {}, Join", network.driver);
  endpoint->plugin_link = join.link;
  endpoint->gateway = join.gateway.value_or(formats::Ipv4Address{});
  endpoint->gateway6 = join.gateway6;
  bool leads_out = join.gateway || join.gateway6;
  endpoint->internal = !leads_out;
  endpoint->wants_way_out = !leads_out && !join.no_way_out && !network.internal;
  if (endpoint->interface.empty()) {
    std::vector<Endpoint> others = EndpointsOf(endpoint->container_id);
    std::erase_if(others, [&](const Endpoint& other) { return other.id == endpoint->id; });
    endpoint->interface = FreeInterface(join.prefix, others);
  }
  TRY(Remember(*endpoint));
  TRY_WITH(TakePluginLink(joined, *endpoint, netns), "taking interface '{}' of plugin {}",
           join.link, network.driver);
  if (endpoint->mac.IsZero()) {
    endpoint->mac.bytes = TRY(kernel::FindLink(&netns->route, endpoint->interface)).mac;
  }
  TRY(Remember(*endpoint));
  if (endpoint->rates.limited()) TRY(LimitLink(*endpoint, netns));
  if (!leads_out) return {};
  Json outside = Named(*endpoint);
  outside.Set("Options", TRY(Json::Parse(endpoint->plugin_options)));
  return Optional(
      CallPlugin(network.driver, kNetworkPlugin, "ProgramExternalConnectivity", outside));
}

Result<> KernelController::CreateAtPlugin(Endpoint* endpoint) const {
  Network network = TRY(InspectNetwork(endpoint->network_id));
  Json request = Named(*endpoint);
  request.Set("Interface",
              Json::MakeObject({
                  {"Address", Address4Text(*endpoint)},
                  {"AddressIPv6", Address6Text(*endpoint)},
                  {"MacAddress", endpoint->mac.IsZero() ? "" : endpoint->mac.ToString()},
              }));
  request.Set("Options", TRY(Json::Parse(endpoint->plugin_options)));
  Json created = TRY(CallPlugin(network.driver, kNetworkPlugin, "CreateEndpoint", request));
  TRY_WITH(ReadPluginInterface(created, endpoint), "plugin {}, CreateEndpoint", network.driver);
  return {};
}

// From the host, where the plugin made it, with addresses and routes.
Result<> KernelController::TakePluginLink(const Json& joined, const Endpoint& endpoint,
                                          kernel::NetNamespace* netns) {
  PluginJoin join = TRY(ReadPluginJoin(joined));
  {
    auto socket = TRY(route_sockets_.Take());
    kernel::NetlinkBatch batch;
    kernel::AppendMoveLink(&batch, TRY(kernel::LinkIndex(*socket.get(), join.link)), netns->fd,
                           endpoint.interface);
    TRY(socket.get()->Transact(&batch));
  }
  int index = TRY(kernel::LinkIndex(netns->route, endpoint.interface));
  if (!endpoint.mac.IsZero()) {
    kernel::NetlinkBatch batch;
    kernel::AppendSetMac(&batch, index, endpoint.mac.bytes);
    TRY(netns->route.Transact(&batch));
  }
  TRY(FillInterface(endpoint, netns, Port::kLast));
  kernel::NetlinkBatch batch;
  for (const PluginRoute& route : join.routes) {
    TRY_WITH(AppendPluginRoute(route, index, &batch), "static route '{}'", route.destination);
  }
  if (batch.message_count() == 0) return {};
  TRY_WITH(netns->route.Transact(&batch), "static routes");
  return {};
}

// What it never knew, won't give up or can't be asked about is its own matter, and hinders nobody.
Result<> KernelController::DeleteByPlugin(const Endpoint& endpoint) const {
  Network network = TRY(InspectNetwork(endpoint.network_id));
  bool absent = false;
  auto tell = [&](std::string_view method) {
    if (absent) return;
    auto told = CallPlugin(network.driver, kNetworkPlugin, method, Named(endpoint));
    if (told.ok() || told.error().kind() == ErrorKind::kUnimplemented) return;
    absent = IsAbsent(told.error());
    log::Warning("container '{}': {}", endpoint.container_id, told.error().message());
  };
  bool joined = !endpoint.plugin_link.empty();
  if (joined && !endpoint.internal) tell("RevokeExternalConnectivity");
  // After a kill in between nobody knows.
  tell("Leave");
  auto given = joined ? GiveLinkBack(endpoint) : Result<>();
  tell("DeleteEndpoint");
  TRY_WITH(std::move(given), "giving interface '{}' back to plugin {}", endpoint.plugin_link,
           network.driver);
  return {};
}

// One that died with its namespace, or that the plugin took back by itself, is none to give.
Result<> KernelController::GiveLinkBack(const Endpoint& endpoint) const {
  auto entry = kernel::OpenNetNamespaceEntry(endpoint.netns_path);
  if (!entry.ok() && entry.error().kind() == ErrorKind::kNotFound) return {};
  UniqueFd fd = TRY(std::move(entry));
  kernel::NetNamespace netns = TRY(kernel::OpenNetNamespace(fd));
  auto index = kernel::LinkIndex(netns.route, endpoint.interface);
  if (!index.ok() && index.error().kind() == ErrorKind::kNotFound) return {};
  UniqueFd own(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!own.valid()) return ErrnoError("opening '{}'", kOwnNamespace);
  kernel::NetlinkBatch batch;
  kernel::AppendMoveLink(&batch, TRY(std::move(index)), own, endpoint.plugin_link);
  return netns.route.Transact(&batch);
}

}  // namespace gantry::networks
