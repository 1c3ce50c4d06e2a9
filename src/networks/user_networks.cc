// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "base/random.h"
#include "networks/controller.h"
#include "networks/subnet_choice.h"

namespace gantry::networks {
namespace {

Result<> CheckGateway(const Network& network) {
  uint32_t address = network.gateway.value;
  if (!network.subnet.Contains(network.gateway) || address == network.subnet.network.value ||
      address == network.subnet.Last().value) {
    return InvalidArgument("no matching subnet for gateway {}", network.gateway.ToString());
  }
  return {};
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
  network.subnet = request.subnet ? *request.subnet : TRY(ChooseSubnet(TRY(UsedSubnets())));
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
  network.gateway =
      request.gateway.value_or(formats::Ipv4Address{network.subnet.network.value + 1});
  TRY(CheckGateway(network));
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
    return MakeError(ErrorKind::kPermissionDenied, "network {} has active endpoints", network.name);
  }
  bool was_set_up = false;
  {
    MutexLock lock(mutex_);
    was_set_up = networks_.at(network.id).bridge_index != 0;
  }
  // One that was never ours (set-up failed on it) is left alone.
  if (was_set_up) TRY(DeleteLink(network.bridge));
  FirewallElements elements;
  AddNetworkElements(network, &elements);
  {
    auto socket = TRY(netfilter_sockets_.Take());
    TRY(firewall_.Remove(socket.get(), elements));
  }
  TRY(options_.records->EraseNetwork(network.id));
  MutexLock lock(mutex_);
  networks_.erase(network.id);
  return {};
}

}  // namespace gantry::networks
