// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "base/random.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"
#include "networks/subnet_choice.h"

namespace gantry::networks {
namespace {

Result<> CheckAddresses(const NetworkRequest& request, const Network& network) {
  const formats::Ipv4Prefix& subnet = network.subnet;
  if (network.ip_range &&
      (network.ip_range->length < subnet.length || !subnet.Overlaps(*network.ip_range))) {
    return InvalidArgument("invalid ip-range {}: it is no part of subnet {}",
                           network.ip_range->ToString(), subnet.ToString());
  }
  std::string gateway = network.gateway.ToString();
  if (!subnet.Contains(network.gateway)) {
    return InvalidArgument("failed to allocate gateway ({}): Requested address is out of range",
                           gateway);
  }
  if (network.gateway == subnet.network || network.gateway == subnet.Last()) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "failed to allocate gateway ({}): Address already in use", gateway);
  }
  for (const auto& [name, address] : request.auxiliary) {
    if (!subnet.Contains(address)) {
      return MakeError(ErrorKind::kPermissionDenied,
                       "auxiliary address: ({}:{}) must belong to the master pool: {}", name,
                       address.ToString(), subnet.ToString());
    }
    if (address == network.gateway) {
      return MakeError(ErrorKind::kPermissionDenied,
                       "failed to allocate secondary ip address ({}:{}): Address already in use",
                       name, address.ToString());
    }
  }
  return {};
}

// The gateway gets the first address that may be given out.
formats::Ipv4Address FirstAddress(const Network& network) {
  bool inner = network.ip_range && network.ip_range->network != network.subnet.network;
  return inner ? network.ip_range->network : formats::Ipv4Address{network.subnet.network.value + 1};
}

}  // namespace

Result<Network> KernelController::CreateNetwork(const NetworkRequest& request) {
  std::unique_lock<std::shared_mutex> alone(operations_);
  if (request.name.empty()) return InvalidArgument("network name is missing");
  std::vector<Network> others = ListNetworks();
  Network network;
  network.id = RandomHex(32);
  network.name = request.name;
  network.bridge = request.bridge.empty() ? "br-" + network.id.substr(0, 12) : request.bridge;
  if (network.bridge.size() > 15) {
    return InvalidArgument("bridge name '{}' must have 1 to 15 characters", network.bridge);
  }
  network.subnet = request.subnet ? *request.subnet
                                  : TRY(ChooseSubnet(DefaultSubnetPools(), TRY(UsedSubnets())));
  if (network.subnet.length > 30) {
    return InvalidArgument("subnet '{}' has no room for a bridge and a container",
                           network.subnet.ToString());
  }
  for (const Network& other : others) {
    if (other.name == network.name) {
      return AlreadyExists("network with name {} already exists", network.name);
    }
    if (other.bridge == network.bridge) {
      return AlreadyExists("bridge '{}' belongs to network {}", network.bridge, other.name);
    }
    if (other.subnet.Overlaps(network.subnet)) {
      return MakeError(ErrorKind::kPermissionDenied,
                       "Pool overlaps with other one on this address space: {} of network {}",
                       other.subnet.ToString(), other.name);
    }
  }
  network.ip_range = request.ip_range;
  network.gateway = request.gateway.value_or(FirstAddress(network));
  TRY(CheckAddresses(request, network));
  for (const auto& [name, address] : request.auxiliary) network.auxiliary.push_back(address);
  network.ipam = request.ipam;
  network.ipam_options = request.ipam_options;
  {
    auto socket = TRY(route_sockets_.Take());
    network.foreign_bridge = kernel::LinkIndex(*socket.get(), network.bridge).ok();
  }
  network.attachable = request.attachable;
  network.host_binding = request.host_binding;
  network.mtu = request.mtu != 0 ? request.mtu : options_.mtu;
  network.internal = request.internal;
  network.icc = request.icc;
  network.masquerade = request.masquerade;
  network.options = request.options;
  network.labels = request.labels;
  network.created = WallClock::now();
  TRY(AddNetwork(network));
  auto set_up = SetUp(network);
  if (set_up.ok()) return network;
  alone.unlock();
  auto undone = RemoveNetwork(network.id);
  if (!undone.ok()) log::Warning("undoing a network: {}", undone.error().message());
  return std::move(set_up).error();
}

Result<> KernelController::RemoveNetwork(std::string_view id_or_name) {
  std::unique_lock<std::shared_mutex> alone(operations_);
  Network network = TRY(InspectNetwork(id_or_name));
  if (network.is_default) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "{} is a pre-defined network and cannot be removed", network.name);
  }
  if (!ListEndpoints(network.id).empty()) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "error while removing network: network {} id {} has active endpoints",
                     network.name, network.id);
  }
  bool was_set_up = false;
  {
    MutexLock lock(mutex_);
    was_set_up = networks_.at(network.id).bridge_index != 0;
  }
  // One that was never ours (there before, or set-up failed on it) is left alone.
  if (was_set_up && !network.foreign_bridge) TRY(DeleteLink(network.bridge));
  std::vector<Network> rest = ListNetworks();
  std::erase_if(rest, [&](const Network& other) { return other.id == network.id; });
  TRY(firewall_->RemoveNetwork(network, rest));
  TRY(options_.records->EraseNetwork(network.id));
  MutexLock lock(mutex_);
  networks_.erase(network.id);
  return {};
}

}  // namespace gantry::networks
