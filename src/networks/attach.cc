// SPDX-License-Identifier: Apache-2.0
//
// Attaching, step by step; each step that succeeds is taken back when a later one fails:
//
//   1 address, MAC and names are reserved in memory
//   2 gantry-proxy binds the host's ports: now they are known and nobody else's
//   3 the record is committed
//   4 the namespace, bound at RUN/netns/ID
//   5 the veth in its bridge, its other end born inside: one message
//   6 inside: up, address and default route, one batch
//   7 the firewall: the ports, one transaction
//   8 on users' networks: names and the container's resolver (docs/resolver.md)
//
// Detaching: firewall, proxy, the namespace's entry, the record, the address. The interfaces die
// with the namespace, in the kernel's own time: deleting one would wait 15 ms for a grace period.
#include <arpa/inet.h>

#include <algorithm>

#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "base/text.h"
#include "kernel/port_holder.h"
#include "kernel/rtnetlink.h"
#include "kernel/sctp.h"
#include "networks/controller.h"
#include "networks/firewall_view.h"
#include "networks/plugin_texts.h"

namespace gantry::networks {
namespace {

// Undo steps have nobody to return an error to.
void LogFailure(Result<> result) {
  if (!result.ok()) log::Warning("undoing an attach: {}", result.error().message());
}

}  // namespace

void KernelController::PlacePorts(const Network& network, const std::string& default_ip,
                                  std::vector<PortRequest>* ports) {
  std::string address = network.host_binding.empty() ? default_ip : network.host_binding;
  // Said so or not, that is both families.
  if (address == "0.0.0.0") address.clear();
  for (PortRequest& port : *ports) {
    if (port.host_ip.empty()) port.host_ip = address;
  }
}

bool KernelController::HostHasIpv6() {
  // Empty when IPv6 is off for every interface.
  auto addresses = ReadFile("/proc/thread-self/net/if_inet6");
  return addresses.ok() && !addresses->empty();
}

Result<KernelController::PublishPlan> KernelController::PlanOf(const Endpoint& endpoint) const {
  Network network = TRY(InspectNetwork(endpoint.network_id));
  PublishPlan plan;
  plan.routed.ipv4 = endpoint.has_ipv4() && network.mode4 == GatewayMode::kRouted;
  plan.routed.ipv6 = endpoint.address6.has_value() && network.mode6 == GatewayMode::kRouted;
  plan.bound.ipv4 = !plan.routed.ipv4;
  plan.bound.no_ipv6 = !HostHasIpv6();
  plan.bound.ipv6 = !plan.bound.no_ipv6 && !plan.routed.ipv6;
  return plan;
}

Result<> KernelController::CheckPorts(const std::vector<PortRequest>& ports) {
  for (const PortRequest& port : ports) {
    if (port.container_port == 0) return InvalidArgument("invalid containerPort: 0");
    if (port.host_port_last != 0 && port.host_port_last < port.host_port_first) {
      return InvalidArgument("invalid hostPort: {}-{}", port.host_port_first, port.host_port_last);
    }
    if (port.host_port_first == 0 && port.host_port_last != 0) {
      return InvalidArgument("invalid hostPort: 0-{}", port.host_port_last);
    }
    in6_addr parsed;
    if (!port.host_ip.empty() && ::inet_pton(AF_INET, port.host_ip.c_str(), &parsed) != 1 &&
        ::inet_pton(AF_INET6, port.host_ip.c_str(), &parsed) != 1) {
      return InvalidArgument("invalid IP address '{}' to publish a port on", port.host_ip);
    }
  }
  return {};
}

std::string FreeInterface(const std::string& prefix, const std::vector<Endpoint>& endpoints) {
  for (int number = 0;; ++number) {
    std::string name = fmt::format("{}{}", prefix, number);
    bool taken = std::any_of(endpoints.begin(), endpoints.end(),
                             [&](const Endpoint& item) { return item.interface == name; });
    if (!taken) return name;
  }
}

namespace {

// The gateway that containers are told, which may be another than the bridge: docker's way to say
// so is an auxiliary address of this name.
template <typename Address>
Result<Address> ToldGateway(const Network& network, const std::string& name, Address bridge) {
  for (const IpamConfig& config : network.ipam) {
    auto told = config.auxiliary.find(name);
    if (told != config.auxiliary.end()) return Address::Parse(told->second);
  }
  return bridge;
}

// Of these, the one that the address is of.
template <typename Prefix>
BasicSubnet<Prefix> SubnetWith(const std::vector<BasicSubnet<Prefix>>& subnets,
                               const decltype(Prefix::network)& address) {
  auto found = std::find_if(subnets.begin(), subnets.end(),
                            [&](const auto& item) { return item.subnet.Contains(address); });
  CHECK(found != subnets.end());
  return *found;
}

// In docker's words, which name the network.
Error NamingNetwork(Error error, const Network& network) {
  if (error.kind() != ErrorKind::kResourceExhausted) return error;
  std::string message = error.message();
  return MakeError(ErrorKind::kResourceExhausted, "{} ({})",
                   message.substr(0, message.find(": ") + 2) + network.name, network.id);
}

formats::MacAddress RandomMac() {
  formats::MacAddress mac{{0x02, 0x42}};
  FillRandom(mac.bytes.data() + 2, 4);
  return mac;
}

}  // namespace

Result<Endpoint> KernelController::FindEndpoint(const std::string& container_id,
                                                const std::string& network_id) const {
  for (Endpoint& endpoint : EndpointsOf(container_id)) {
    if (endpoint.network_id == network_id) return std::move(endpoint);
  }
  return Internal("the endpoint of container '{}' is gone", container_id);
}

Result<Endpoint> KernelController::Attach(const AttachRequest& request) {
  Endpoint endpoint = TRY(Connect(request, BorrowedFd()));
  if (!NeedsWayOut(endpoint)) return endpoint;
  UniqueFd netns = TRY(kernel::OpenNetNamespaceEntry(endpoint.netns_path));
  TRY(GiveWayOut(request, netns));
  return endpoint;
}

Result<Endpoint> KernelController::AttachToExisting(const AttachRequest& request,
                                                    BorrowedFd netns) {
  CHECK(netns.valid());
  Endpoint endpoint = TRY(Connect(request, netns));
  if (NeedsWayOut(endpoint)) TRY(GiveWayOut(request, netns));
  return endpoint;
}

Result<Endpoint> KernelController::Connect(const AttachRequest& request, BorrowedFd existing) {
  TRY(CheckPorts(request.ports));
  std::shared_lock<std::shared_mutex> beside(operations_);
  std::shared_lock<std::shared_mutex> publishing(publishing_, std::defer_lock);
  // The ports of its other networks may move here.
  bool further = !EndpointsOf(request.container_id).empty();
  bool named = !TRY(InspectNetwork(request.network)).is_default;
  if (named || further || !request.ports.empty()) publishing.lock();
  AttachRequest wanted = request;
  TRY(RequestAddresses(TRY(InspectNetwork(request.network)), &wanted));
  int bridge_index = 0;
  auto reserved = Reserve(wanted, &bridge_index);
  if (!reserved.ok()) {
    LogFailure(ReleaseAddresses(AddressesOf(TRY(InspectNetwork(request.network)), wanted)));
    return reserved;
  }
  Endpoint endpoint = *std::move(reserved);
  Undo undo;
  undo.Push([&] { LogFailure(ReleaseAddresses(endpoint)); });
  undo.Push([&] { LogFailure(FollowLinks()); });
  if (further) {
    undo.Push([&] { LogFailure(SetDefaultRoutes(request.container_id)); });
  }
  undo.Push([&] { Forget(endpoint); });
  if (IsOverlay(endpoint.network_id)) TRY(ClaimAddresses(request, &endpoint));

  if (!request.ports.empty() && !LeaderOf(request.container_id) && endpoint.cni_ports.empty()) {
    log::Warning("container '{}': network {} publishes no ports", request.container_id,
                 endpoint.network_name);
  }
  bool leads = Leads(endpoint);
  std::optional<Endpoint> publisher = PublisherBeside(endpoint);
  if (leads && !publisher && !request.ports.empty()) {
    std::vector<PortRequest> ports = request.ports;
    PlacePorts(TRY(InspectNetwork(endpoint.network_id)), request.default_ip, &ports);
    TRY_WITH(PublishOnProxy(&endpoint, ports, &publishing),
             "driver failed programming external connectivity on endpoint {} ({})",
             request.names.empty() ? request.container_id : request.names.front(), endpoint.id);
    undo.Push([&] {
      auto reply = proxy_.Call({formats::ProxyOperation::kSet, endpoint.id, {}});
      if (!reply.ok()) LogFailure(reply.error());
    });
  }

  TRY(options_.records->PutEndpoint(endpoint));
  undo.Push([&] {
    LogFailure(options_.records->EraseEndpoint(endpoint.container_id, endpoint.network_id));
  });

  auto kind = endpoint.named ? NamespacePool::Kind::kWithResolver : NamespacePool::Kind::kPlain;
  ReadyNamespace ready = existing.valid()
                             ? ReadyNamespace{TRY(kernel::OpenNetNamespace(existing)), {}}
                             : TRY(pool_.Take(kind));
  kernel::NetNamespace& netns = ready.netns;
  if (!existing.valid()) RefillLater();
  if (!existing.valid() || !PathExists(endpoint.netns_path)) {
    TRY(BindEntry(netns.fd, endpoint.container_id));
    undo.Push([&] { LogFailure(UnbindEntry(endpoint.container_id)); });
  }

  undo.Push([&] { LogFailure(RemoveInterface(endpoint)); });
  if (endpoint.is_cni()) {
    TRY(AddByCni(&endpoint, &netns));
  } else if (endpoint.is_plugin()) {
    TRY(AddByPlugin(&endpoint, &netns));
  } else {
    TRY(CreateLink(endpoint, bridge_index, &netns, existing.valid() ? Port::kLast : Port::kFirst));
  }

  undo.Push([&] { LogFailure(firewall_->Unpublish({endpoint})); });
  TRY_WITH(firewall_->Publish({endpoint}), "publishing ports");
  if (leads && publisher) TRY(MovePorts(*publisher, endpoint));
  TRY(FollowLinks());
  // What the container may ask outside may be another matter now.
  if (HasNames(endpoint.container_id)) {
    undo.Push([&] { LogFailure(ForgetNames(endpoint.container_id, {endpoint}, !further)); });
    TRY(PublishNames(endpoint, &ready, &publishing));
  }
  undo.Commit();
  AnnounceLater(endpoint);
  return TRY(FindEndpoint(endpoint.container_id, endpoint.network_id));
}

Result<Endpoint> KernelController::Reserve(const AttachRequest& request, int* bridge_index) {
  if (request.container_id.empty() || request.container_id.find('/') != std::string::npos) {
    return InvalidArgument("invalid container id '{}'", request.container_id);
  }
  Network network = TRY(InspectNetwork(request.network));
  if (network.config_only) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "cannot create endpoint on configuration-only network");
  }
  if (request.mac && network.is_ipvlan()) {
    return Internal("ipvlan interfaces do not support custom mac address assignment");
  }
  bool wanted = request.mac && network.parent_mode != kPassthru;
  Endpoint endpoint;
  if (network.is_cni()) TRY(PlanCni(request, network, &endpoint));
  if (network.is_plugin() && !network.plugin_made) {
    return FailedPrecondition("network {} is not set up: plugin {} was not told of it",
                              network.name, network.driver);
  }
  if (network.is_plugin()) endpoint.plugin_options = PluginOptions(request).Dump();
  formats::MacAddress mac;
  // That of an interface that a plugin makes is seen then.
  if (wanted) mac = *request.mac;
  if (!wanted && !network.is_plugin()) mac = TRY(UsualMac(network));
  MutexLock lock(mutex_);
  NetworkState& state = networks_.at(network.id);
  if (network.has_bridge() && state.bridge_index == 0) {
    return FailedPrecondition("network {} is not set up: its bridge '{}' is missing", network.name,
                              network.bridge);
  }
  *bridge_index = state.bridge_index;
  auto attached = endpoints_.find(request.container_id);
  if (attached != endpoints_.end()) {
    for (const Endpoint& other : attached->second) {
      if (other.network_id != network.id) continue;
      return MakeError(ErrorKind::kPermissionDenied,
                       "endpoint with name {} already exists in network {}", request.container_id,
                       network.name);
    }
  }
  if (!network.is_cni()) TRY(TakeAddresses(request, &state, &endpoint));
  endpoint.id = RandomHex(32);
  endpoint.container_id = request.container_id;
  endpoint.network_id = network.id;
  endpoint.network_name = network.name;
  endpoint.hostname = request.hostname;
  endpoint.named = !network.is_default && !request.implicit;
  endpoint.implicit = request.implicit;
  if (endpoint.named) {
    endpoint.names = request.names;
    endpoint.links = request.links;
    endpoint.dns = request.dns;
  }
  if (network.is_default && !network.icc) {
    endpoint.reaches = request.reaches;
    endpoint.exposes = request.exposes;
    if (!request.reaches.empty()) any_links_ = true;
  }
  endpoint.link_local = request.link_local;
  endpoint.sysctls = request.sysctls;
  endpoint.rates = request.rates;
  // Of a plugin's until that says how it leads out.
  endpoint.internal =
      network.closed() || network.is_plugin() || network.parent == DummyParent(network);
  endpoint.gateway_priority = request.gateway_priority;
  bool follows = !request.mac && network.has_bridge() && endpoint.has_ipv4();
  endpoint.mac = follows ? formats::MacAddress::Of(endpoint.address) : mac;
  if (network.has_bridge()) endpoint.host_link = "veth" + endpoint.id.substr(0, 7);
  endpoint.interface = request.interface;
  // A plugin says how its interfaces are called.
  if (endpoint.interface.empty() && !network.is_plugin()) {
    endpoint.interface =
        FreeInterface(network.interface_prefix,
                      attached == endpoints_.end() ? std::vector<Endpoint>{} : attached->second);
  }
  endpoint.by_device = network.is_routed_by_parent();
  if (network.is_plugin() || endpoint.by_device) endpoint.gateway = {};
  if (endpoint.by_device) endpoint.gateway6.reset();
  endpoint.netns_path = NetnsPath(request.container_id);
  endpoints_[request.container_id].push_back(endpoint);
  return endpoint;
}

// Of an endpoint whose address doesn't say it. In mode passthru, and of ipvlan, it is the parent's.
Result<formats::MacAddress> KernelController::UsualMac(const Network& network) {
  if (network.parent_mode != kPassthru && !network.is_ipvlan()) return RandomMac();
  auto socket = TRY(route_sockets_.Take());
  return formats::MacAddress{TRY(kernel::FindLink(socket.get(), network.parent)).mac};
}

// Both or none.
Result<> KernelController::TakeAddresses(const AttachRequest& request, NetworkState* state,
                                         Endpoint* endpoint) {
  const Network& network = state->network;
  auto now = SteadyClock::now();
  bool own = network.ipam_driver.empty();
  if (network.has_ipv4()) {
    if (request.address) {
      if (own) TRY(state->addresses.TakeWanted(*request.address));
      endpoint->address = *request.address;
    } else {
      auto taken = state->addresses.Take(now);
      if (!taken.ok()) return NamingNetwork(std::move(taken).error(), network);
      endpoint->address = *taken;
    }
    Subnet subnet = SubnetWith(SubnetsOf(network), endpoint->address);
    endpoint->prefix_length = subnet.subnet.length;
    endpoint->gateway = TRY(ToldGateway(network, "DefaultGatewayIPv4",
                                        subnet.gateway.value_or(formats::Ipv4Address{})));
  }
  if (!state->addresses6 || (!request.ipv6 && network.has_ipv4())) return {};
  auto take = [&]() -> Result<formats::Ipv6Address> {
    if (!request.address6) return state->addresses6->Take(now);
    if (own) TRY(state->addresses6->TakeWanted(*request.address6));
    return *request.address6;
  };
  auto taken = take();
  if (!taken.ok()) {
    if (own && network.has_ipv4()) state->addresses.GiveBack(endpoint->address, now);
    return NamingNetwork(std::move(taken).error(), network);
  }
  endpoint->address6 = *taken;
  Subnet6 subnet = SubnetWith(SubnetsOf6(network), *taken);
  endpoint->prefix_length6 = subnet.subnet.length;
  endpoint->gateway6 = subnet.gateway;
  auto told = TRY(ToldGateway(network, "DefaultGatewayIPv6", formats::Ipv6Address{}));
  if (!told.IsUnspecified()) endpoint->gateway6 = told;
  return {};
}

void KernelController::Forget(const Endpoint& endpoint) {
  if (IsShared(endpoint.network_id)) options_.cluster->Release(endpoint.id);
  MutexLock lock(mutex_);
  auto network = networks_.find(endpoint.network_id);
  if (network != networks_.end()) {
    NetworkState& state = network->second;
    auto now = SteadyClock::now();
    bool own = state.network.ipam_driver.empty() && !endpoint.is_cni();
    if (own && endpoint.has_ipv4()) state.addresses.GiveBack(endpoint.address, now);
    if (own && endpoint.address6 && state.addresses6) {
      state.addresses6->GiveBack(*endpoint.address6, now);
    }
  }
  auto attached = endpoints_.find(endpoint.container_id);
  if (attached == endpoints_.end()) return;
  std::erase_if(attached->second, [&](const Endpoint& item) { return item.id == endpoint.id; });
  if (attached->second.empty()) endpoints_.erase(attached);
}

// docker's message, and who has the port.
Error KernelController::NameHolder(const formats::ProxyFailure& failure,
                                   const std::vector<formats::ProxyListener>& listeners) const {
  Error error = BindError(failure, listeners);
  for (const Endpoint& endpoint : ListEndpoints({})) {
    if (failure.holder.empty() || endpoint.id != failure.holder) continue;
    std::string name =
        endpoint.names.empty() ? ShortId(endpoint.container_id) : endpoint.names.front();
    error.AddHint(fmt::format("container {} has it", name));
    return error;
  }
  if (failure.error_number != EADDRINUSE || !failure.holder.empty()) return error;
  kernel::PortKind kind = kernel::PortKind::kTcp;
  if (failure.listener < listeners.size()) {
    const std::string& protocol = listeners[failure.listener].protocol;
    if (protocol == "udp") kind = kernel::PortKind::kUdp;
    if (protocol == "sctp") kind = kernel::PortKind::kSctp;
  }
  auto holder = kernel::FindPortHolder(kind, failure.port);
  if (holder) error.AddHint(fmt::format("process {} ({}) has it", holder->pid, holder->program));
  return error;
}

// On a kernel without sctp sockets gantry-proxy can't serve such ports, so rules have to lead to
// them. Without one it fails in the words of the proxy that can't be.
Result<> KernelController::CheckSctp(const Endpoint& endpoint,
                                     const std::vector<formats::ProxyListener>& listeners) const {
  bool served = kernel::HasSctp();
  for (const formats::ProxyListener& listener : listeners) {
    if (served || listener.protocol != ProtocolName(Protocol::kSctp)) continue;
    Endpoint trial = endpoint;
    trial.ports = PublishedBy({listener}, {std::max(listener.first_port, uint16_t{1})});
    const FirewallFamilies& families = options_.firewall.families;
    bool led = (families.ipv4 && !PortsOf(trial, /*ipv6=*/false).empty()) ||
               (families.ipv6 && !PortsOf(trial, /*ipv6=*/true).empty());
    if (!firewall_->has_rules() || !led) {
      Error error = BindError({0, listener.addresses.front(), listener.first_port, EPROTONOSUPPORT,
                               "", ErrnoErrorOf(EPROTONOSUPPORT, "socket").message()},
                              {listener});
      error.AddHint("this kernel has no sctp, and no rule of the firewall leads to the port");
      return error;
    }
    log::Warning(
        "container '{}': this kernel has no sctp, so port {}/sctp is reached by the firewall's "
        "rules alone, not from loopback or from containers",
        endpoint.container_id, listener.target_port);
  }
  return {};
}

// `publishing` is held, but given back while a proxy that is not there is started.
Result<> KernelController::PublishOnProxy(Endpoint* endpoint, const std::vector<PortRequest>& ports,
                                          std::shared_lock<std::shared_mutex>* publishing) {
  PublishPlan plan = TRY(PlanOf(*endpoint));
  formats::ProxyRequest request{formats::ProxyOperation::kSet, endpoint->id,
                                ListenersFor(ports, ProxyTarget(*endpoint), plan.bound)};
  TRY(CheckSctp(*endpoint, request.listeners));
  if (!request.listeners.empty()) {
    auto answered = CallOrStart([&] { return proxy_.CallAll({request}, {}); }, publishing);
    formats::ProxyReply reply = TRY_WITH(std::move(answered), "publishing ports").front();
    if (reply.failure) return NameHolder(*reply.failure, request.listeners);
    if (reply.ports.size() != request.listeners.size()) {
      return Internal("publishing ports: gantry-proxy answered with {} of {} ports",
                      reply.ports.size(), request.listeners.size());
    }
    for (PublishedPort& port : PublishedBy(request.listeners, reply.ports)) {
      endpoint->ports.push_back(std::move(port));
    }
  }
  // As docker shows them: behind those of the host.
  for (PublishedPort& port : RoutedPorts(ports, plan.routed)) {
    endpoint->ports.push_back(std::move(port));
  }
  // What others see (`docker ps` meanwhile, a proxy that is started anew) has the ports too.
  MutexLock lock(mutex_);
  for (Endpoint& item : endpoints_[endpoint->container_id]) {
    if (item.id == endpoint->id) item.ports = endpoint->ports;
  }
  return {};
}

// Takes the ports back, all in one transaction. Goes on after a failure; the first one is returned.
Result<> KernelController::Unpublish(const std::vector<Endpoint>& endpoints) {
  std::optional<Error> failure;
  auto note = [&](Result<> result) {
    if (!result.ok() && !failure) failure = std::move(result).error();
  };
  note(firewall_->Unpublish(endpoints));
  ForgetConnectionsLater(endpoints);
  for (const Endpoint& endpoint : endpoints) {
    if (endpoint.ports.empty()) continue;
    auto reply = proxy_.Call({formats::ProxyOperation::kSet, endpoint.id, {}});
    // A proxy that is not there holds no port.
    if (!reply.ok() && reply.error().kind() != ErrorKind::kUnavailable) note(reply.error());
  }
  if (failure) return *std::move(failure);
  return {};
}

// With something left the record stays, and the next Detach or Reconcile goes on.
Result<> KernelController::Detach(const std::string& container_id) {
  std::shared_lock<std::shared_mutex> beside(operations_);
  std::shared_lock<std::shared_mutex> publishing(publishing_);
  std::vector<Endpoint> endpoints = EndpointsOf(container_id);
  auto unpublished = Unpublish(endpoints);
  // Before the entry: the resolver's sockets hold the namespace, too.
  auto forgotten = ForgetNames(container_id, endpoints, /*all=*/true);
  if (unpublished.ok()) unpublished = std::move(forgotten);
  // Those that stand on an interface of the host must be gone before another has their address;
  // the others die with the namespace.
  for (const Endpoint& endpoint : endpoints) {
    if (endpoint.is_cni() || endpoint.is_plugin()) {
      // What a plugin can't take away it won't next time either; the rest goes.
      auto deleted = RemoveInterface(endpoint);
      if (!deleted.ok()) log::Failure("{}", deleted.error().message());
    } else if (!endpoint.has_host_link()) {
      TRY(RemoveInterface(endpoint));
    }
  }
  TRY_WITH(UnbindEntry(container_id), "detaching container '{}'", container_id);
  TRY_WITH(std::move(unpublished), "detaching container '{}'", container_id);
  for (const Endpoint& endpoint : endpoints) {
    auto released = ReleaseAddresses(endpoint);
    if (!released.ok()) log::Failure("{}", released.error().message());
    TRY(options_.records->EraseEndpoint(endpoint.container_id, endpoint.network_id));
    Forget(endpoint);
    if (endpoint.has_host_link()) CheckDeadLater(endpoint.host_link);
  }
  return FollowLinks();
}

Result<> KernelController::Disconnect(const std::string& container_id, std::string_view network) {
  TRY(DisconnectOne(container_id, network));
  return TakeWayOut(container_id);
}

Result<> KernelController::DisconnectOne(const std::string& container_id,
                                         std::string_view network) {
  std::shared_lock<std::shared_mutex> beside(operations_);
  std::shared_lock<std::shared_mutex> publishing(publishing_);
  Network wanted = TRY(InspectNetwork(network));
  for (const Endpoint& endpoint : EndpointsOf(container_id)) {
    if (endpoint.network_id != wanted.id) continue;
    TRY_WITH(Unpublish({endpoint}), "disconnecting container '{}'", container_id);
    // While the record is there: after a crash nothing tells that another network has to lead now.
    // One that can't (the container took its interface down) doesn't keep this one.
    auto led = SetDefaultRoutes(container_id, endpoint.id);
    if (!led.ok()) log::Warning("{}", led.error().message());
    // The namespace lives on, so the interface has to be deleted, whatever that costs.
    TRY(RemoveInterface(endpoint));
    auto released = ReleaseAddresses(endpoint);
    if (!released.ok()) log::Failure("{}", released.error().message());
    TRY(options_.records->EraseEndpoint(endpoint.container_id, endpoint.network_id));
    Forget(endpoint);
    TRY(FollowLinks());
    TRY(ForgetNames(container_id, {endpoint}, /*all=*/false));
    return FollowLeader(container_id, endpoint.ports);
  }
  return NotFound("container {} is not connected to network {}", container_id, wanted.name);
}

}  // namespace gantry::networks
