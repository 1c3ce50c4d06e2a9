// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {

Result<Network> KernelController::EnsureDefaultBridge() {
  std::unique_lock<std::shared_mutex> alone(operations_);
  bool wanted = options_.bridge != kNoBridge;
  Network network;
  if (wanted) network = RecordedDefault();
  if (wanted && network.subnet.length == 0) {
    TRY(RemoveRulesOf(std::string(kNoBridge)));
    network.foreign_bridge = TRY(HasForeignBridge(network));
    TRY_WITH(WantedIpv4(&network), "error creating default \"bridge\" network");
    TRY_WITH(WantedIpv6(&network), "error creating default \"bridge\" network");
    TRY(AddNetwork(network));
  } else if (wanted) {
    TRY(FollowOptions(&network));
  }
  if (options_.enable_forwarding) TRY(EnableForwarding());
  if (wanted) TRY(SetUp(network));
  for (const Network& each : ListNetworks()) {
    if (each.id == network.id || each.config_only) continue;
    bool goes = !wanted && each.is_default && ListEndpoints(each.id).empty();
    if (goes) continue;
    // One whose bridge can't be made (its name was taken meanwhile) does not hold up the others;
    // who attaches to it is told.
    auto set_up = SetUp(each);
    if (!set_up.ok()) {
      log::Failure("network {} is not there: {}", each.name, set_up.error().message());
    }
  }
  if (!wanted) TRY(DropDefault());
  WatchFirewall();
  BeginCluster();
  return network;
}

// The kernel first: what has a record is taken away at the next start.
Result<> KernelController::DropDefault() {
  for (const Network& network : ListNetworks()) {
    if (!network.is_default) continue;
    std::vector<Endpoint> endpoints = ListEndpoints(network.id);
    if (!endpoints.empty()) {
      log::Warning("network {} stays: container '{}' has an address of it", network.name,
                   endpoints.front().container_id);
      continue;
    }
    // One of another name may have been the administrator's.
    if (network.bridge == kUsualBridge) TRY(DeleteLink(network.bridge));
    TRY(RemoveRulesOf(network.bridge));
    TRY(options_.records->EraseNetwork(network.id));
    {
      MutexLock lock(mutex_);
      networks_.erase(network.id);
    }
    TRY_WITH(firewall_->RepairNetworks(BridgedNetworks()), "setting up the firewall");
  }
  return {};
}

// Rules have the default bridge's name, so that those of before it was "none", and of after that,
// are others.
Result<> KernelController::RemoveRulesOf(const std::string& stack) {
  TRY_WITH(MakeFirewall(options_.firewall, stack, &netfilter_sockets_)->RemoveEverything(),
           "removing the firewall's rules of before");
  return {};
}

// The record first, then the memory; the kernel comes after.
Result<> KernelController::AddNetwork(const Network& network) {
  TRY(options_.records->PutNetwork(network));
  MutexLock lock(mutex_);
  networks_.emplace(network.id, NetworkState{network, PoolsOf(network), PoolsOf6(network)});
  return {};
}

Result<> KernelController::SetUp(const Network& network) {
  if (network.is_cni() || network.is_plugin()) return {};
  if (!network.has_bridge()) return EnsureParent(network);
  // The rules first: a bridge is never there without them.
  TRY_WITH(firewall_->RepairNetworks(BridgedNetworks()), "setting up the firewall");
  if (network.subnet6 && options_.enable_forwarding) TRY(EnableForwarding6());
  int index = TRY_WITH(EnsureBridge(network), "setting up bridge '{}'", network.bridge);
  if (network.is_overlay()) TRY(EnsureTunnel(network, index));
  MutexLock lock(mutex_);
  networks_.at(network.id).bridge_index = index;
  return {};
}

std::vector<Network> KernelController::BridgedNetworks() const {
  std::vector<Network> networks = ListNetworks();
  std::erase_if(networks, [](const Network& network) { return !network.has_bridge(); });
  return networks;
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
    if (network.parent_made) TRY(DeleteLink(network.parent));
    if (!network.has_bridge()) continue;
    if (network.is_overlay()) TRY(DeleteLink(TunnelName(network)));
    if (!network.foreign_bridge) TRY(DeleteLink(network.bridge));
    MutexLock lock(mutex_);
    networks_.at(network.id).bridge_index = 0;
  }
  return {};
}

}  // namespace gantry::networks
