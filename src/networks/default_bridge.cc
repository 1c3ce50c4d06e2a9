// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>

#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"
#include "networks/subnet_choice.h"

namespace gantry::networks {
namespace {

constexpr const char* kForwarding = "/proc/sys/net/ipv4/ip_forward";

Result<> EnableForwarding() {
  std::string now = TRY(ReadFile(kForwarding));
  // Written only when off: writing it again resets other settings of every interface.
  if (now.starts_with('0')) {
    TRY_WITH(WriteFile(kForwarding, "1"), "turning on forwarding of IPv4 packets");
  }
  return {};
}

}  // namespace

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
  if (firewall_->forwards()) TRY(EnableForwarding());
  TRY(SetUp(network));
  for (const Network& each : ListNetworks()) {
    if (each.id == network.id) continue;
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

// The record first, then the memory; the kernel comes after.
Result<> KernelController::AddNetwork(const Network& network) {
  TRY(options_.records->PutNetwork(network));
  MutexLock lock(mutex_);
  networks_.emplace(network.id, NetworkState{network, PoolOf(network)});
  return {};
}

Result<> KernelController::SetUp(const Network& network) {
  // The rules first: a bridge is never there without them.
  TRY_WITH(firewall_->RepairNetworks(ListNetworks()), "setting up the firewall");
  int index = TRY_WITH(EnsureBridge(network), "setting up bridge '{}'", network.bridge);
  MutexLock lock(mutex_);
  networks_.at(network.id).bridge_index = index;
  return {};
}

Result<std::vector<formats::Ipv4Prefix>> KernelController::UsedSubnets() {
  auto socket = TRY(route_sockets_.Take());
  std::vector<formats::Ipv4Prefix> used;
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(socket.get()))) {
    used.push_back(formats::Ipv4Prefix::Of({ntohl(item.address.s_addr)}, item.prefix_length));
  }
  for (const kernel::Route& route : TRY(kernel::ListRoutes(socket.get()))) {
    used.push_back({{ntohl(route.destination.s_addr)}, route.prefix_length});
  }
  for (const Network& network : ListNetworks()) used.push_back(network.subnet);
  return used;
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
    network.subnet = TRY(ChooseSubnet(DefaultSubnetPools(), TRY(UsedSubnets())));
  }
  if (network.subnet.length > 30) {
    return InvalidArgument("subnet '{}' has no room for a bridge and a container",
                           network.subnet.ToString());
  }
  network.gateway = {network.subnet.network.value + 1};
  return network;
}

// The interface's index.
Result<int> KernelController::EnsureBridge(const Network& network) {
  auto socket = TRY(route_sockets_.Take());
  auto found = kernel::FindLink(socket.get(), network.bridge);
  if (!found.ok() && found.error().kind() != ErrorKind::kNotFound) return found.error();
  if (found.ok() && found->kind != "bridge") {
    return FailedPrecondition("network interface '{}' exists and is no bridge", network.bridge);
  }
  if (!found.ok()) {
    // Locally administered, like docker's; the rest is random.
    kernel::HardwareAddress mac{0x02, 0x42};
    FillRandom(mac.data() + 2, 4);
    kernel::NetlinkBatch create;
    kernel::AppendCreateBridge(&create, network.bridge, mac, network.mtu);
    TRY(socket.get()->Transact(&create));
    found = TRY(kernel::FindLink(socket.get(), network.bridge));
  }
  kernel::NetlinkBatch batch;
  if (!found->up) kernel::AppendLinkUp(&batch, found->index);
  bool has_address = false;
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(socket.get()))) {
    has_address |= item.index == found->index &&
                   ntohl(item.address.s_addr) == network.gateway.value &&
                   item.prefix_length == network.subnet.length;
  }
  if (!has_address) {
    kernel::AppendAddAddress(&batch, found->index, InAddr(network.gateway), network.subnet.length);
  }
  if (batch.message_count() > 0) TRY(socket.get()->Transact(&batch));
  return found->index;
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
    if (!network.foreign_bridge) TRY(DeleteLink(network.bridge));
    MutexLock lock(mutex_);
    networks_.at(network.id).bridge_index = 0;
  }
  return {};
}

}  // namespace gantry::networks
