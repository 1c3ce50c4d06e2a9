// SPDX-License-Identifier: Apache-2.0
//
// Networks of the driver overlay: hosts share them. Each has a bridge of the network that leads
// nowhere but into a tunnel (kernel/tunnel.h), which is told by the cluster where each neighbour
// is; what containers send elsewhere leaves by a second interface on a bridge of this host alone,
// the way out. A host that can't reach the cluster's store keeps what it was told.
#include <arpa/inet.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/log.h"
#include "kernel/interface_settings.h"
#include "kernel/rtnetlink.h"
#include "kernel/tunnel.h"
#include "networks/chunked_batch.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

constexpr const char* kWayOut = "docker_gwbridge";
constexpr uint32_t kFirstVni = 4096;
constexpr uint32_t kTunnelHead = 50;  // bytes: Ethernet, IPv4, UDP, VXLAN (RFC 7348 section 5)
// ESP's head, its nonce, two bytes of its tail and its tag; what it encrypts is filled up to words
// (RFC 4303 section 2, RFC 4106 section 4).
constexpr uint32_t kEncryptionHead = 8 + 8 + 2 + 16;
constexpr uint32_t kEncryptionWord = 4;
// Between Ethernet's and UDP's: of these a packet of a container's is a part of what is encrypted.
constexpr uint32_t kEncryptedBeside = kTunnelHead - 20 + 2;
// Others may take addresses at the same time.
constexpr int kClaims = 100;
constexpr int kCreations = 20;

const std::vector<SubnetPool>& OverlayPools() {
  static const std::vector<SubnetPool> pools = {{*formats::Ipv4Prefix::Parse("10.0.0.0/8"), 24}};
  return pools;
}

// All that are given, in batches. Entries that are gone already are none to forget.
template <typename Items, typename Append>
Result<> InChunks(kernel::NetlinkSocket* socket, const Items& items, Append append) {
  ChunkedBatch chunks(socket, {ENOENT});
  for (const auto& item : items) {
    append(item, chunks.batch());
    TRY(chunks.Pass());
  }
  return chunks.Flush();
}

void AppendKnown(int tunnel, const ClusterEndpoint& endpoint, kernel::NetlinkBatch* batch) {
  kernel::AppendForward(batch, tunnel, endpoint.mac.bytes, InAddr(endpoint.host));
  if (endpoint.address) {
    kernel::AppendNeighbour(batch, tunnel, InAddr(*endpoint.address), endpoint.mac.bytes);
  }
  if (endpoint.address6) {
    kernel::AppendNeighbour6(batch, tunnel, InAddr6(*endpoint.address6), endpoint.mac.bytes);
  }
}

void AppendForgotten(int tunnel, const ClusterEndpoint& endpoint, kernel::NetlinkBatch* batch) {
  kernel::AppendForgetForward(batch, tunnel, endpoint.mac.bytes);
  if (endpoint.address) kernel::AppendForgetNeighbour(batch, tunnel, InAddr(*endpoint.address));
  if (endpoint.address6) kernel::AppendForgetNeighbour6(batch, tunnel, InAddr6(*endpoint.address6));
}

// What the kernel and the pools know of it is the same.
bool SamePlace(const ClusterEndpoint& a, const ClusterEndpoint& b) {
  return a.host == b.host && a.address == b.address && a.address6 == b.address6 && a.mac == b.mac;
}

Endpoint AsEndpoint(const ClusterEndpoint& shown, const std::string& network_name) {
  Endpoint endpoint;
  endpoint.id = shown.id;
  endpoint.container_id = shown.container_id;
  endpoint.network_id = shown.network_id;
  endpoint.network_name = network_name;
  if (shown.address) {
    endpoint.address = *shown.address;
    endpoint.prefix_length = 32;
  }
  endpoint.address6 = shown.address6;
  endpoint.named = true;
  endpoint.names = shown.names;
  return endpoint;
}

}  // namespace

Error NoCluster() {
  return FailedPrecondition(
      "networks of several hosts need a store that the hosts share (cluster-store)");
}

bool KernelController::IsOverlay(const std::string& network_id) const {
  MutexLock lock(mutex_);
  auto found = networks_.find(network_id);
  return found != networks_.end() && found->second.network.is_overlay();
}

// The cluster is to hear of it. A daemon that was started without its store keeps what it has.
bool KernelController::IsShared(const std::string& network_id) const {
  return options_.cluster != nullptr && IsOverlay(network_id);
}

// What other hosts made meanwhile is chosen around, and so is what they make while this is under
// way.
Result<Network> KernelController::CreateOverlay(const NetworkRequest& request) {
  if (options_.cluster == nullptr) return NoCluster();
  if (request.name.empty()) return InvalidArgument("network name is missing");
  if (request.encrypted) TRY(CheckEncryption());
  Network network;
  for (int tries = 0;; ++tries) {
    Cluster::Moment moment = TRY(options_.cluster->ListNetworks());
    std::unique_lock<std::shared_mutex> alone(operations_);
    for (const Network& other : moment.networks) {
      if (!InspectNetwork(other.id).ok()) TRY(AddShared(other));
    }
    network = TRY(NamedNetwork(request));
    NetworkRequest wanted = request;
    if (request.ipv4 && !wanted.subnet) {
      wanted.subnet = TRY(ChooseSubnet(OverlayPools(), TRY(UsedSubnets())));
    }
    if (request.ipv4) TRY(ChooseIpv4(wanted, &network));
    if (request.ipv6) TRY(ChooseIpv6(wanted, &network));
    TRY(ChooseMore(wanted, &network));
    std::set<uint32_t> taken;
    for (const Network& other : ListNetworks()) taken.insert(other.vni);
    if (request.vni != 0 && taken.contains(request.vni)) {
      return AlreadyExists("VXLAN id {} is in use", request.vni);
    }
    if (request.vni == 0) network.vni = kFirstVni;
    while (request.vni == 0 && taken.contains(network.vni)) ++network.vni;
    uint32_t fits = TRY(TunnelMtu(request.encrypted));
    if (request.mtu == 0) network.mtu = fits;
    alone.unlock();
    if (TRY(options_.cluster->AddNetwork(network, moment.mark))) break;
    if (tries == kCreations) {
      return MakeError(ErrorKind::kAborted, "creating network {}: others are made all the time",
                       network.name);
    }
  }
  std::unique_lock<std::shared_mutex> alone(operations_);
  // The cluster may have told of it already.
  if (!InspectNetwork(network.id).ok()) TRY(AddShared(network));
  auto set_up = SetUp(network);
  if (set_up.ok()) return network;
  alone.unlock();
  auto undone = RemoveNetwork(network.id);
  if (!undone.ok()) log::Warning("undoing a network: {}", undone.error().message());
  return std::move(set_up).error();
}

Result<> KernelController::AddShared(const Network& network) {
  for (const Network& other : ListNetworks()) {
    if (other.name == network.name && !other.is_overlay()) {
      log::Warning("network {} of the cluster has the name of one of this host: {} is its id",
                   network.name, network.id);
    }
  }
  return AddNetwork(network);
}

// Of packets that pass a tunnel of this host.
Result<uint32_t> KernelController::TunnelMtu(bool encrypted) const {
  if (options_.cluster == nullptr) return NoCluster();
  kernel::NetlinkSocket socket = TRY(kernel::NetlinkSocket::Open(NETLINK_ROUTE));
  formats::Ipv4Address host = options_.cluster->host();
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(&socket))) {
    if (ntohl(item.address.s_addr) != host.value) continue;
    std::vector<kernel::Link> links = TRY(kernel::ListLinks(&socket));
    for (const kernel::Link& link : links) {
      if (link.index != item.index) continue;
      uint32_t fits = link.mtu - kTunnelHead;
      if (!encrypted) return fits;
      fits -= kEncryptionHead;
      return fits - (fits + kEncryptedBeside) % kEncryptionWord;
    }
  }
  return FailedPrecondition("no interface of this host has the address {} (cluster-advertise)",
                            host.ToString());
}

Result<> KernelController::EnsureTunnel(const Network& network, int bridge_index) {
  uint32_t fits = TRY(TunnelMtu(network.encrypted));
  if (network.mtu > fits) {
    return FailedPrecondition(
        "network {} has an MTU of {}, and a tunnel from address {} carries at most {}",
        network.name, network.mtu, options_.cluster->host().ToString(), fits);
  }
  if (network.encrypted) TRY(EnsureEncryption());
  auto socket = TRY(route_sockets_.Take());
  std::string name = TunnelName(network);
  auto found = kernel::FindLink(socket.get(), name);
  if (!found.ok() && found.error().kind() != ErrorKind::kNotFound) return found.error();
  in_addr local = InAddr(options_.cluster->host());
  // This host may be reached at another address than when it was made.
  bool fitting = found.ok() && found->kind == "vxlan" && found->master == bridge_index &&
                 TRY(kernel::TunnelLocal(socket.get(), found->index)).s_addr == local.s_addr;
  if (found.ok() && !fitting) {
    TRY(DeleteLink(name));
    found = NotFound("made anew");
  }
  if (!found.ok()) {
    kernel::TunnelSpec spec;
    spec.name = name;
    spec.vni = network.vni;
    spec.local = local;
    if (network.encrypted) spec.port = kEncryptedTunnelPort;
    spec.mtu = network.mtu;
    spec.master = bridge_index;
    kernel::NetlinkBatch batch;
    kernel::AppendCreateTunnel(&batch, spec);
    TRY_WITH(socket.get()->Transact(&batch), "making the tunnel of network {}", network.name);
    found = TRY(kernel::FindLink(socket.get(), name));
  }
  // It answers for neighbours of a family that it has itself.
  TRY(kernel::SetIpv6(name, network.subnet6.has_value()));
  MutexLock lock(mutex_);
  networks_.at(network.id).tunnel_index = found->index;
  return {};
}

ClusterEndpoint KernelController::ShownToCluster(const Endpoint& endpoint) const {
  ClusterEndpoint shown;
  shown.id = endpoint.id;
  shown.network_id = endpoint.network_id;
  shown.container_id = endpoint.container_id;
  shown.host_name = options_.cluster->host_name();
  shown.host = options_.cluster->host();
  if (endpoint.has_ipv4()) shown.address = endpoint.address;
  shown.address6 = endpoint.address6;
  shown.mac = endpoint.mac;
  shown.names = endpoint.names;
  return shown;
}

// The addresses that are reserved here become the cluster's knowledge. Another host may have one of
// them, which this one has not heard of yet: then the next.
Result<> KernelController::ClaimAddresses(const AttachRequest& request, Endpoint* endpoint) {
  if (options_.cluster == nullptr) return NoCluster();
  for (int tries = 0;; ++tries) {
    auto claimed = options_.cluster->Claim(ShownToCluster(*endpoint));
    bool taken = !claimed.ok() && claimed.error().kind() == ErrorKind::kAlreadyExists;
    if (!taken) {
      TRY_WITH(std::move(claimed), "joining network {}", endpoint->network_name);
      return {};
    }
    if (request.address || request.address6 || tries == kClaims) {
      return MakeError(ErrorKind::kPermissionDenied, "Address already in use");
    }
    // Those stay reserved: they are given back when their owner goes.
    MutexLock lock(mutex_);
    TRY(TakeAddresses(request, &networks_.at(endpoint->network_id), endpoint));
    if (!request.mac && endpoint->has_ipv4()) {
      endpoint->mac = formats::MacAddress::Of(endpoint->address);
    }
    for (Endpoint& item : endpoints_[endpoint->container_id]) {
      if (item.id == endpoint->id) item = *endpoint;
    }
  }
}

void KernelController::BeginCluster() {
  if (options_.cluster == nullptr) return;
  std::vector<ClusterEndpoint> own;
  for (const Endpoint& endpoint : ListEndpoints({})) {
    if (IsOverlay(endpoint.network_id)) own.push_back(ShownToCluster(endpoint));
  }
  auto begun = options_.cluster->Begin(std::move(own),
                                       [this](const ClusterView& view) { FollowCluster(view); });
  if (!begun.ok()) log::Failure("cluster: {}", begun.error().message());
}

// In the cluster's thread.
void KernelController::FollowCluster(const ClusterView& view) {
  FollowSharedNetworks(view);
  bool first = false;
  {
    std::shared_lock<std::shared_mutex> beside(operations_);
    auto keyed = FollowKeys(view);
    if (!keyed.ok()) log::Failure("encrypted networks: {}", keyed.error().message());
    for (const Network& network : ListNetworks()) {
      if (!network.is_overlay() || !view.networks.contains(network.id)) continue;
      auto followed = FollowNeighbours(network.id, view);
      if (!followed.ok()) log::Failure("network {}: {}", network.name, followed.error().message());
      first |= followed.ok() && *followed;
    }
  }
  if (!first) return;
  // The proxy may have names from an earlier process that are nobody's any more.
  std::unique_lock<std::shared_mutex> alone(operations_);
  ReconcileReport report;
  auto reconciled = ReconcileNames(&report);
  if (!reconciled.ok()) log::Failure("cluster: {}", reconciled.error().message());
}

bool KernelController::AwaitsCluster(const std::string& network_id) const {
  MutexLock lock(mutex_);
  auto found = networks_.find(network_id);
  return found != networks_.end() && found->second.network.is_overlay() &&
         !found->second.neighbours;
}

void KernelController::FollowSharedNetworks(const ClusterView& view) {
  // Endpoints come and go all the time, networks rarely: nobody waits for the look.
  auto known = [&](const Network& network) {
    return !network.is_overlay() || view.networks.contains(network.id);
  };
  std::vector<Network> here = ListNetworks();
  size_t shared = static_cast<size_t>(
      std::count_if(here.begin(), here.end(), [](const auto& item) { return item.is_overlay(); }));
  if (shared == view.networks.size() && std::all_of(here.begin(), here.end(), known)) return;
  std::unique_lock<std::shared_mutex> alone(operations_);
  for (const auto& [id, network] : view.networks) {
    if (InspectNetwork(id).ok()) continue;
    Result<> added = AddShared(network);
    if (added.ok()) added = SetUp(network);
    if (!added.ok())
      log::Failure("network {} is not there: {}", network.name, added.error().message());
  }
  for (const Network& network : ListNetworks()) {
    if (!network.is_overlay() || view.networks.contains(network.id)) continue;
    if (!ListEndpoints(network.id).empty()) {
      log::Failure(
          "network {} was removed while this host was away: its containers here reach "
          "each other alone",
          network.name);
      continue;
    }
    auto forgotten = ForgetNetwork(network);
    if (!forgotten.ok()) {
      log::Failure("removing network {}: {}", network.name, forgotten.error().message());
    }
  }
}

// The tunnel, the pools of addresses and the names become what the cluster says; true: for the
// first time. Only the cluster's thread is here.
Result<bool> KernelController::FollowNeighbours(const std::string& network_id,
                                                const ClusterView& view) {
  std::map<std::string, ClusterEndpoint> wanted;
  for (const auto& [id, endpoint] : view.endpoints) {
    if (endpoint.network_id == network_id) wanted.emplace(id, endpoint);
  }
  std::optional<std::map<std::string, ClusterEndpoint>> known;
  std::string name;
  int tunnel = 0;
  {
    MutexLock lock(mutex_);
    NetworkState& state = networks_.at(network_id);
    known = state.neighbours;
    name = state.network.name;
    tunnel = state.tunnel_index;
  }
  if (tunnel == 0) return false;
  if (!known) TRY(ForgetStrangers(tunnel, wanted));
  std::vector<ClusterEndpoint> gone;
  std::vector<ClusterEndpoint> come;
  std::vector<Endpoint> named;
  for (const auto& [id, endpoint] : known.value_or(std::map<std::string, ClusterEndpoint>{})) {
    auto now = wanted.find(id);
    if (now == wanted.end() || !SamePlace(now->second, endpoint)) gone.push_back(endpoint);
    if (now == wanted.end()) {
      named.push_back(AsEndpoint(endpoint, name));
      named.back().names.clear();
    }
  }
  for (const auto& [id, endpoint] : wanted) {
    bool same = known && known->contains(id) && SamePlace(known->at(id), endpoint);
    if (!same) come.push_back(endpoint);
    bool told = known && known->contains(id) && known->at(id) == endpoint;
    if (!told) named.push_back(AsEndpoint(endpoint, name));
  }
  auto socket = TRY(route_sockets_.Take());
  TRY(InChunks(socket.get(), gone, [&](const ClusterEndpoint& item, kernel::NetlinkBatch* batch) {
    AppendForgotten(tunnel, item, batch);
  }));
  TRY(InChunks(socket.get(), come, [&](const ClusterEndpoint& item, kernel::NetlinkBatch* batch) {
    AppendKnown(tunnel, item, batch);
  }));
  {
    MutexLock lock(mutex_);
    NetworkState& state = networks_.at(network_id);
    auto now = SteadyClock::now();
    for (const ClusterEndpoint& item : gone) {
      if (item.address) state.addresses.GiveBack(*item.address, now);
      if (item.address6 && state.addresses6) state.addresses6->GiveBack(*item.address6, now);
    }
    // One that is reserved already is one that a claim met before the cluster told of it.
    for (const ClusterEndpoint& item : come) {
      if (item.address) (void)state.addresses.TakeWanted(*item.address);
      if (item.address6 && state.addresses6) (void)state.addresses6->TakeWanted(*item.address6);
    }
    state.neighbours = std::move(wanted);
  }
  // The first time all names are looked at.
  if (!known) return true;
  std::shared_lock<std::shared_mutex> publishing(publishing_);
  auto told = TellEndpoints(named);
  // A proxy that is not there is told of all when it starts.
  if (!told.ok() && told.error().kind() != ErrorKind::kUnavailable) return std::move(told).error();
  return false;
}

// A tunnel that an earlier process told of others. What is right stays: packets pass meanwhile.
Result<> KernelController::ForgetStrangers(int tunnel,
                                           const std::map<std::string, ClusterEndpoint>& wanted) {
  std::set<kernel::HardwareAddress> macs;
  std::set<uint32_t> addresses;
  std::set<formats::Ipv6Address> addresses6;
  for (const auto& [id, endpoint] : wanted) {
    macs.insert(endpoint.mac.bytes);
    if (endpoint.address) addresses.insert(endpoint.address->value);
    if (endpoint.address6) addresses6.insert(*endpoint.address6);
  }
  auto socket = TRY(route_sockets_.Take());
  auto forwards = TRY(kernel::ListForwards(socket.get(), tunnel));
  TRY(InChunks(socket.get(), forwards, [&](const kernel::Forward& item, auto* batch) {
    if (!macs.contains(item.mac)) kernel::AppendForgetForward(batch, tunnel, item.mac);
  }));
  auto neighbours = TRY(kernel::ListNeighbours(socket.get(), tunnel));
  TRY(InChunks(socket.get(), neighbours, [&](const kernel::Neighbour& item, auto* batch) {
    bool known = addresses.contains(ntohl(item.address.s_addr));
    if (!known) kernel::AppendForgetNeighbour(batch, tunnel, item.address);
  }));
  auto neighbours6 = TRY(kernel::ListNeighbours6(socket.get(), tunnel));
  return InChunks(socket.get(), neighbours6, [&](const kernel::Neighbour6& item, auto* batch) {
    bool known = addresses6.contains(AddressOf6(item.address));
    if (!known) kernel::AppendForgetNeighbour6(batch, tunnel, item.address);
  });
}

// Whom containers here may ask for by name.
std::vector<Endpoint> KernelController::NamedElsewhere() const {
  MutexLock lock(mutex_);
  std::vector<Endpoint> named;
  for (const auto& [id, state] : networks_) {
    if (!state.neighbours) continue;
    for (const auto& [endpoint_id, endpoint] : *state.neighbours) {
      named.push_back(AsEndpoint(endpoint, state.network.name));
    }
  }
  return named;
}

bool KernelController::WantsWayOut(const Endpoint& endpoint) const {
  if (endpoint.is_plugin()) return endpoint.wants_way_out;
  auto network = InspectNetwork(endpoint.network_id);
  return network.ok() && network->is_overlay() && !network->internal;
}

bool KernelController::NeedsWayOut(const Endpoint& endpoint) const {
  if (!WantsWayOut(endpoint)) return false;
  std::vector<Endpoint> all = EndpointsOf(endpoint.container_id);
  return std::all_of(all.begin(), all.end(), [](const Endpoint& item) { return item.internal; });
}

Result<> KernelController::GiveWayOut(const AttachRequest& request, BorrowedFd netns) {
  auto bridge = InspectNetwork(kWayOut);
  if (!bridge.ok()) {
    NetworkRequest wanted;
    wanted.name = kWayOut;
    wanted.icc = false;
    wanted.options = {{"com.docker.network.bridge.enable_icc", "false"},
                      {"com.docker.network.bridge.enable_ip_masquerade", "true"}};
    auto made = CreateNetwork(wanted);
    // Somebody else has just made it.
    if (!made.ok() && made.error().kind() != ErrorKind::kAlreadyExists) {
      return std::move(made).error().AddContext("making the way out of overlay networks");
    }
  }
  AttachRequest way;
  way.container_id = request.container_id;
  way.network = kWayOut;
  way.hostname = request.hostname;
  way.ports = request.ports;
  way.default_ip = request.default_ip;
  way.names = request.names;  // of errors
  way.gateway_priority = std::numeric_limits<int32_t>::min();
  way.implicit = true;
  way.rates = request.rates;
  auto given = Connect(way, netns);
  if (given.ok()) return {};
  auto undone = Disconnect(request.container_id, request.network);
  if (!undone.ok()) log::Warning("undoing an attach: {}", undone.error().message());
  return std::move(given).error();
}

// With the last network that wants one.
Result<> KernelController::TakeWayOut(const std::string& container_id) {
  std::vector<Endpoint> all = EndpointsOf(container_id);
  auto way = std::find_if(all.begin(), all.end(), [](const Endpoint& e) { return e.implicit; });
  if (way == all.end()) return {};
  for (const Endpoint& endpoint : all) {
    if (WantsWayOut(endpoint)) return {};
  }
  return DisconnectOne(container_id, way->network_id);
}

}  // namespace gantry::networks
