// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>

#include "base/log.h"
#include "base/random.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"
#include "networks/subnet_choice.h"

namespace gantry::networks {
Result<Network> KernelController::EnsureDefaultBridge() {
  std::unique_lock<std::shared_mutex> alone(operations_);
  Network network;
  bool known = false;
  for (Network& candidate : ListNetworks()) {
    if (candidate.is_default && candidate.bridge == options_.bridge) {
      network = std::move(candidate);
      known = true;
    }
  }
  if (!known) {
    network = TRY(ChooseDefaultNetwork());
    TRY(AddNetwork(network));
  }
  TRY(FollowOptions(&network));
  if (firewall_->forwards()) TRY(EnableForwarding());
  TRY(SetUp(network));
  for (const Network& each : ListNetworks()) {
    if (each.id == network.id || each.config_only) continue;
    // One whose bridge can't be made (its name was taken meanwhile) does not hold up the others;
    // who attaches to it is told.
    auto set_up = SetUp(each);
    if (!set_up.ok()) {
      log::Failure("network {} is not there: {}", each.name, set_up.error().message());
    }
  }
  WatchFirewall();
  return network;
}

// The daemon's options of the default network's IPv6 may be other ones than when it was recorded.
Result<> KernelController::FollowOptions(Network* network) {
  bool wanted = options_.ipv6;
  NetworkRequest request;
  request.subnet6 = options_.subnet6;
  request.gateway6 = options_.gateway6;
  if (request.subnet6) {
    request.ip_range6 = options_.ip_range6;
  } else {
    request.subnet6 = options_.ip_range6;
  }
  bool same = wanted == network->subnet6.has_value() &&
              (!wanted || !request.subnet6 || request.subnet6 == network->subnet6) &&
              (!wanted || !request.gateway6 || request.gateway6 == network->gateway6) &&
              (!wanted || request.ip_range6 == network->ip_range6);
  if (same) return {};
  for (const Endpoint& endpoint : ListEndpoints(network->id)) {
    if (!endpoint.address6) continue;
    log::Warning("network {} keeps its IPv6 settings: container '{}' has an address of it",
                 network->name, endpoint.container_id);
    return {};
  }
  Network changed = *network;
  changed.subnet6.reset();
  changed.gateway6.reset();
  changed.ip_range6.reset();
  if (wanted) {
    TRY_WITH(ChooseIpv6(request, &changed), "giving network {} IPv6", network->name);
  }
  TRY(options_.records->PutNetwork(changed));
  *network = changed;
  MutexLock lock(mutex_);
  NetworkState& state = networks_.at(network->id);
  state.network = changed;
  state.addresses6 = PoolOf6(changed);
  return {};
}

// The record first, then the memory; the kernel comes after.
Result<> KernelController::AddNetwork(const Network& network) {
  TRY(options_.records->PutNetwork(network));
  MutexLock lock(mutex_);
  networks_.emplace(network.id, NetworkState{network, PoolOf(network), PoolOf6(network)});
  return {};
}

Result<> KernelController::SetUp(const Network& network) {
  // The rules first: a bridge is never there without them.
  TRY_WITH(firewall_->RepairNetworks(BridgedNetworks()), "setting up the firewall");
  if (network.subnet6 && firewall_->forwards()) TRY(EnableForwarding6());
  int index = TRY_WITH(EnsureBridge(network), "setting up bridge '{}'", network.bridge);
  MutexLock lock(mutex_);
  networks_.at(network.id).bridge_index = index;
  return {};
}

std::vector<Network> KernelController::BridgedNetworks() const {
  std::vector<Network> networks = ListNetworks();
  std::erase_if(networks, [](const Network& network) { return network.config_only; });
  return networks;
}

// A bridge of that name which has an address already (records were lost) keeps it.
Result<Network> KernelController::ChooseDefaultNetwork() {
  Network network;
  network.id = RandomHex(32);
  network.name = "bridge";
  network.bridge = options_.bridge;
  network.mtu = options_.mtu;
  network.is_default = true;
  network.created = WallClock::now();
  network.options = {{"com.docker.network.bridge.default_bridge", "true"},
                     {"com.docker.network.bridge.enable_icc", "true"},
                     {"com.docker.network.bridge.enable_ip_masquerade", "true"},
                     {"com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"},
                     {"com.docker.network.bridge.name", options_.bridge},
                     {"com.docker.network.driver.mtu", std::to_string(options_.mtu)}};
  if (options_.subnet) {
    network.subnet = *options_.subnet;
  } else {
    auto socket = TRY(route_sockets_.Take());
    auto bridge = kernel::LinkIndex(*socket.get(), options_.bridge);
    if (bridge.ok()) {
      for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(socket.get()))) {
        if (item.index != *bridge || item.prefix_length > 30) continue;
        network.gateway = {ntohl(item.address.s_addr)};
        network.subnet = formats::Ipv4Prefix::Of(network.gateway, item.prefix_length);
        return network;
      }
    }
    network.subnet = TRY(ChooseSubnet(options_.pools, TRY(UsedSubnets())));
  }
  if (network.subnet.length > 30) {
    return InvalidArgument("subnet '{}' has no room for a bridge and a container",
                           network.subnet.ToString());
  }
  network.gateway = {network.subnet.network.value + 1};
  return network;
}

Result<> KernelController::RemoveEverything() {
  std::unique_lock<std::shared_mutex> alone(operations_);
  if (!ListEndpoints({}).empty()) {
    return FailedPrecondition("removing networks: containers are still attached");
  }
  if (proxy_.IsRunning()) {
    {
      MutexLock lock(mutex_);
      proxy_wanted_ = false;
    }
    TRY(proxy_.Call({formats::ProxyOperation::kStop, "", {}}));
  }
  TRY(firewall_->RemoveEverything());
  for (const Network& network : ListNetworks()) {
    if (network.config_only) continue;
    if (!network.foreign_bridge) TRY(DeleteLink(network.bridge));
    MutexLock lock(mutex_);
    networks_.at(network.id).bridge_index = 0;
  }
  return {};
}

}  // namespace gantry::networks
