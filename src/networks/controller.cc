// SPDX-License-Identifier: Apache-2.0
#include "networks/controller.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <set>
#include <system_error>

#include "base/io.h"
#include "base/log.h"
#include "kernel/conntrack.h"
#include "kernel/rtnetlink.h"

namespace gantry::networks {
namespace {

// Interfaces that should be dying are looked after before their addresses are given out again.
constexpr auto kDeathWait = std::chrono::milliseconds(1000);
// A container that was just attached needs the CPU more than the next one's namespace.
constexpr auto kRefillDelay = std::chrono::milliseconds(20);
constexpr auto kProxyRetry = std::chrono::milliseconds(500);

}  // namespace

Result<std::unique_ptr<Controller>> Controller::Create(Options options) {
  return std::unique_ptr<Controller>(TRY(KernelController::Create(std::move(options))));
}

KernelController::KernelController(Options options, std::unique_ptr<EventLoop> loop)
    : options_(std::move(options)),
      firewall_(MakeFirewall(options_.firewall, options_.bridge, &netfilter_sockets_)),
      proxy_(options_.run_directory, options_.proxy_binary),
      pool_(options_.pool_size),
      loop_(std::move(loop)) {}

Result<std::unique_ptr<KernelController>> KernelController::Create(Options options) {
  CHECK(options.records != nullptr);
  if (options.bridge.empty() || options.bridge.size() > 15) {
    return InvalidArgument("bridge name '{}' must have 1 to 15 characters", options.bridge);
  }
  auto loop = TRY(EventLoop::Create());
  std::unique_ptr<KernelController> controller(
      new KernelController(std::move(options), std::move(loop)));
  TRY(controller->LoadRecords());
  TRY(MakeDirectories(controller->NetnsDirectory(), 0700));
  KernelController* raw = controller.get();
  try {
    raw->thread_ = std::thread([raw] {
      auto result = raw->loop_->Run();
      if (!result.ok()) log::Failure("networks' background thread: {}", result.error().message());
    });
  } catch (const std::system_error& error) {
    return ErrnoErrorOf(error.code().value(), "starting networks' background thread");
  }
  raw->RefillLater();
  return controller;
}

KernelController::~KernelController() {
  if (options_.cluster != nullptr) options_.cluster->End();
  if (!thread_.joinable()) return;
  loop_->Stop();
  thread_.join();
}

namespace {

// Without what is no container's. The network's or the broadcast address is not given out anyway.
template <typename Prefix>
BasicAddressPool<Prefix> PoolFor(const BasicSubnet<Prefix>& wanted) {
  BasicAddressPool<Prefix> pool(wanted.subnet, wanted.gateway, kAddressRest, wanted.ip_range);
  for (const auto& address : wanted.auxiliary) (void)pool.TakeWanted(address);
  return pool;
}

template <typename Prefix>
BasicAddressPools<Prefix> PoolsFor(const BasicSubnet<Prefix>& first,
                                   const std::vector<BasicSubnet<Prefix>>& more) {
  BasicAddressPools<Prefix> pools(PoolFor(first));
  for (const auto& subnet : more) pools.Add(PoolFor(subnet));
  return pools;
}

}  // namespace

AddressPools KernelController::PoolsOf(const Network& network) {
  return PoolsFor(FirstSubnet(network), network.more);
}

std::optional<AddressPools6> KernelController::PoolsOf6(const Network& network) {
  if (!network.subnet6) return std::nullopt;
  return PoolsFor(FirstSubnet6(network), network.more6);
}

Result<> KernelController::LoadRecords() {
  MutexLock lock(mutex_);
  for (Network& network : TRY(options_.records->ListNetworks())) {
    AddressPools addresses = PoolsOf(network);
    std::optional<AddressPools6> addresses6 = PoolsOf6(network);
    std::string id = network.id;
    NetworkState state{std::move(network), std::move(addresses), std::move(addresses6)};
    state.replay_due = state.network.ipam_wants_replay;
    networks_.emplace(id, std::move(state));
  }
  for (Endpoint& endpoint : TRY(options_.records->ListEndpoints())) {
    auto network = networks_.find(endpoint.network_id);
    if (network == networks_.end()) {
      return MakeError(ErrorKind::kDataLoss,
                       "endpoint '{}' belongs to network '{}', which has no record", endpoint.id,
                       endpoint.network_id);
    }
    NetworkState& state = network->second;
    bool own = state.network.ipam_driver.empty();
    if (own && endpoint.has_ipv4() && !endpoint.is_cni()) {
      TRY_WITH(state.addresses.TakeWanted(endpoint.address), "reading endpoint '{}'", endpoint.id);
    }
    if (own && endpoint.address6 && state.addresses6) {
      TRY_WITH(state.addresses6->TakeWanted(*endpoint.address6), "reading endpoint '{}'",
               endpoint.id);
    }
    endpoints_[endpoint.container_id].push_back(std::move(endpoint));
  }
  return {};
}

std::vector<Network> KernelController::ListNetworks() const {
  MutexLock lock(mutex_);
  std::vector<Network> all;
  for (const auto& [id, state] : networks_) all.push_back(state.network);
  return all;
}

Result<Network> KernelController::InspectNetwork(std::string_view id_or_name) const {
  MutexLock lock(mutex_);
  auto exact = networks_.find(std::string(id_or_name));
  if (exact != networks_.end()) return exact->second.network;
  const Network* by_prefix = nullptr;
  size_t matches = 0;
  for (const auto& [id, state] : networks_) {
    bool is_default = id_or_name.empty() && state.network.is_default;
    if (is_default || state.network.name == id_or_name) return state.network;
    if (!id_or_name.empty() && id.starts_with(id_or_name)) {
      by_prefix = &state.network;
      ++matches;
    }
  }
  if (matches == 1) return *by_prefix;
  if (matches > 1) {
    return InvalidArgument("{} matches found based on ID prefix: network {} is ambiguous", matches,
                           id_or_name);
  }
  return NotFound("network {} not found", id_or_name.empty() ? "bridge" : id_or_name);
}

std::vector<Endpoint> KernelController::ListEndpoints(std::string_view network_id) const {
  MutexLock lock(mutex_);
  std::vector<Endpoint> found;
  for (const auto& [container, endpoints] : endpoints_) {
    for (const Endpoint& endpoint : endpoints) {
      if (network_id.empty() || endpoint.network_id == network_id) found.push_back(endpoint);
    }
  }
  return found;
}

std::vector<Endpoint> KernelController::EndpointsOf(std::string_view container_id) const {
  MutexLock lock(mutex_);
  auto found = endpoints_.find(std::string(container_id));
  return found == endpoints_.end() ? std::vector<Endpoint>{} : found->second;
}

void KernelController::RefillLater() {
  loop_->Post([this] {
    if (std::exchange(refill_planned_, true)) return;
    loop_->After(kRefillDelay, [this] {
      refill_planned_ = false;
      auto refilled = pool_.Refill();
      if (!refilled.ok()) log::Warning("preparing namespaces: {}", refilled.error().message());
    });
  });
}

void KernelController::CheckDeadLater(const std::string& link) {
  {
    MutexLock lock(mutex_);
    dying_.insert(link);
  }
  loop_->Post([this, link] {
    loop_->After(kDeathWait, [this, link] {
      {
        MutexLock lock(mutex_);
        dying_.erase(link);
      }
      // Somebody keeps the namespace: the address is free, so the interface must go.
      auto deleted = DeleteLink(link);
      if (!deleted.ok()) log::Warning("{}", deleted.error().message());
    });
  });
}

// A full bridge has no place until they are gone. Whether there were any.
Result<bool> KernelController::DeleteDying() {
  std::set<std::string> links;
  {
    MutexLock lock(mutex_);
    links = dying_;
  }
  for (const std::string& link : links) TRY(DeleteLink(link));
  return !links.empty();
}

// Clients that go on sending to a published udp port, or begin an sctp association with the ports
// of the last one, as many do, must find the next container there.
void KernelController::ForgetConnectionsLater(const std::vector<Endpoint>& endpoints) {
  std::map<uint8_t, std::vector<in_addr>> addresses;
  for (const Endpoint& endpoint : endpoints) {
    std::set<uint8_t> protocols;
    for (const PublishedPort& port : endpoint.ports) {
      if (port.protocol == Protocol::kUdp) protocols.insert(IPPROTO_UDP);
      if (port.protocol == Protocol::kSctp) protocols.insert(IPPROTO_SCTP);
    }
    for (uint8_t protocol : protocols) addresses[protocol].push_back(InAddr(endpoint.address));
  }
  if (addresses.empty()) return;
  loop_->Post([this, addresses] {
    auto forget = [&]() -> Result<> {
      auto socket = TRY(netfilter_sockets_.Take());
      for (const auto& [protocol, of] : addresses) {
        TRY(kernel::ForgetConnections(socket.get(), protocol, of));
      }
      return {};
    };
    auto forgotten = forget();
    if (!forgotten.ok()) log::Warning("{}", forgotten.error().message());
  });
}

// A proxy that was just started is told of every port there is, before anybody else asks it.
Result<> KernelController::EnsureProxy() {
  {
    MutexLock lock(mutex_);
    proxy_wanted_ = true;
  }
  std::unique_lock<std::shared_mutex> alone(publishing_);
  bool started = TRY(proxy_.EnsureRunning());
  if (started) {
    std::set<std::string> named;
    std::vector<Endpoint> names = NamedElsewhere();
    for (const Endpoint& endpoint : ListEndpoints({})) {
      auto told = TellProxy(endpoint);
      if (!told.ok()) log::Failure("{}", told.error().message());
      if (!endpoint.named) continue;
      named.insert(endpoint.container_id);
      names.push_back(endpoint);
    }
    // All names before the first who may ask for one: else the world is asked for it.
    auto known = TellEndpoints(names);
    if (!known.ok()) log::Failure("telling names: {}", known.error().message());
    for (const std::string& container : named) {
      auto told = TellNames(container);
      if (!told.ok()) log::Failure("container '{}': {}", container, told.error().message());
    }
  }
  WatchProxy();
  return {};
}

Result<> KernelController::TellProxy(const Endpoint& endpoint) {
  if (endpoint.ports.empty()) return {};
  formats::ProxyRequest request{formats::ProxyOperation::kSet, endpoint.id,
                                ListenersFor(endpoint.ports, ProxyTarget(endpoint))};
  formats::ProxyReply reply = TRY(proxy_.Call(request));
  if (reply.failure) {
    return BindError(*reply.failure, request.listeners)
        .AddContext(
            fmt::format("publishing the ports of container '{}' again", endpoint.container_id));
  }
  return {};
}

void KernelController::WatchProxy() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(watching_proxy_, true)) return;
  }
  loop_->Post([this] {
    auto connection = proxy_.Watch();
    if (!connection.ok()) return RestartProxy();
    proxy_watch_ = std::move(connection).value();
    auto watched = loop_->Watch(proxy_watch_, EPOLLIN, [this](uint32_t) {
      loop_->Unwatch(proxy_watch_);
      proxy_watch_.Reset();
      RestartProxy();
    });
    if (!watched.ok()) log::Failure("{}", watched.error().message());
  });
}

// In the background thread: the proxy ended.
void KernelController::RestartProxy() {
  {
    MutexLock lock(mutex_);
    watching_proxy_ = false;
    if (!proxy_wanted_) return;
  }
  log::Warning("gantry-proxy ended; starting it again");
  auto ensured = EnsureProxy();
  if (ensured.ok()) return;
  log::Failure("{}", ensured.error().message());
  loop_->After(kProxyRetry, [this] { RestartProxy(); });
}

}  // namespace gantry::networks
