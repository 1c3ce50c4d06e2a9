// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "base/random.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {

Result<Network> KernelController::CreateNetwork(const NetworkRequest& request) {
  if (request.driver == "overlay" && !request.config_only) return CreateOverlay(request);
  bool by_plugins = !IsBuiltInDriver(request.driver) || !request.ipam_driver.empty();
  if (by_plugins && !request.config_only) return CreateWithPlugins(request);
  std::unique_lock<std::shared_mutex> alone(operations_);
  if (request.name.empty()) return InvalidArgument("network name is missing");
  if (!request.ipv4 && !request.ipv6 && !request.config_only) {
    return InvalidArgument("IPv4 or IPv6 must be enabled");
  }
  Network network = TRY(NamedNetwork(request));
  if (network.config_only) {
    TRY(AddNetwork(network));
    return network;
  }
  if (network.is_cni()) {
    TRY(ChooseCni(request, &network));
    TRY(AddNetwork(network));
    return network;
  }
  TRY(PlaceNetwork(request, &network));
  TRY(AddNetwork(network));
  auto set_up = SetUp(network);
  if (set_up.ok()) return network;
  alone.unlock();
  auto undone = RemoveNetwork(network.id);
  if (!undone.ok()) log::Warning("undoing a network: {}", undone.error().message());
  return std::move(set_up).error();
}

// Its addresses, and what of the host it stands on.
Result<> KernelController::PlaceNetwork(const NetworkRequest& request, Network* network) {
  if (network->has_ipv4()) TRY(ChooseIpv4(request, network));
  if (request.ipv6 && network->ipam_driver != kNoIpam) TRY(ChooseIpv6(request, network));
  TRY(ChooseMore(request, network));
  ShowChosen(request, network);
  if (network->has_bridge()) {
    auto socket = TRY(route_sockets_.Take());
    network->foreign_bridge = kernel::LinkIndex(*socket.get(), network->bridge).ok();
  } else if (!network->is_plugin()) {
    TRY(ChooseParent(network));
  }
  if (request.default_bridge && !network->foreign_bridge) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "bridge device with non default name {} must be created manually",
                     network->bridge);
  }
  return {};
}

// All but its addresses.
Result<Network> KernelController::NamedNetwork(const NetworkRequest& request) const {
  Network network;
  network.id = RandomHex(32);
  network.name = request.name;
  network.config_only = request.config_only;
  // As docker shows it, so that programs that know of no such sets make nothing of it.
  if (network.config_only) network.driver = "null";
  network.wants_ipv6 = request.config_only && request.ipv6;
  network.config_from = request.config_from;
  if (!network.config_only) network.driver = request.driver;
  network.ipam_driver = request.ipam_driver;
  if (network.driver == "macvlan" || network.driver == "ipvlan") {
    network.parent = request.parent.empty() ? DummyParent(network) : request.parent;
    network.parent_mode = request.parent_mode;
    network.parent_layer = request.parent_layer;
  }
  network.vni = request.vni;
  network.encrypted = request.encrypted;
  if (network.has_bridge()) {
    network.bridge = request.bridge;
    if (network.bridge.empty() && request.default_bridge) network.bridge = options_.bridge;
    if (network.bridge.empty()) network.bridge = "br-" + network.id.substr(0, 12);
  }
  if (network.parent.size() > 15) {
    return InvalidArgument("parent '{}' must have 1 to 15 characters", network.parent);
  }
  if (network.bridge.size() > 15) {
    return InvalidArgument("bridge name '{}' must have 1 to 15 characters", network.bridge);
  }
  for (const Network& other : ListNetworks()) {
    if (other.name == network.name) {
      return AlreadyExists("network with name {} already exists", network.name);
    }
    if (network.has_bridge() && other.bridge == network.bridge) {
      return AlreadyExists("bridge '{}' belongs to network {}", network.bridge, other.name);
    }
  }
  network.ipv4 = request.ipv4;
  network.ipam = request.ipam;
  network.ipam_options = request.ipam_options;
  network.mode4 = request.mode4;
  network.mode6 = request.mode6;
  network.trusted_interfaces = request.trusted_interfaces;
  network.host_ipv4 = request.host_ipv4;
  network.host_ipv6 = request.host_ipv6;
  network.inhibit_ipv4 = request.inhibit_ipv4;
  network.interface_prefix = request.interface_prefix;
  network.attachable = request.attachable;
  network.host_binding = request.host_binding;
  network.mtu = request.mtu != 0 ? request.mtu : kDefaultMtu;
  network.internal = request.internal;
  network.icc = request.icc;
  network.masquerade = request.masquerade;
  network.options = request.options;
  network.labels = request.labels;
  network.created = WallClock::now();
  return network;
}

Result<> KernelController::RemoveNetwork(std::string_view id_or_name) {
  Network network = TRY(InspectNetwork(id_or_name));
  // First for all hosts, each of which then forgets it.
  if (network.is_overlay()) {
    if (options_.cluster == nullptr) return NoCluster();
    TRY(options_.cluster->RemoveNetwork(network));
  }
  if (network.is_plugin() || network.has_ipam_plugin()) TRY(ForgetByPlugins(network));
  std::unique_lock<std::shared_mutex> alone(operations_);
  auto still = InspectNetwork(network.id);
  if (!still.ok() && network.is_overlay()) return {};
  TRY(std::move(still));
  return ForgetNetwork(network);
}

// Of this host.
Result<> KernelController::ForgetNetwork(const Network& network) {
  if (network.is_default) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "{} is a pre-defined network and cannot be removed", network.name);
  }
  if (!ListEndpoints(network.id).empty()) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "error while removing network: network {} id {} has active endpoints",
                     network.name, network.id);
  }
  for (const Network& other : ListNetworks()) {
    if (!network.config_only || other.config_from != network.name) continue;
    return MakeError(ErrorKind::kPermissionDenied,
                     "error while removing network: configuration network \"{}\" is in use",
                     network.name);
  }
  bool was_set_up = false;
  {
    MutexLock lock(mutex_);
    was_set_up = networks_.at(network.id).bridge_index != 0;
  }
  // One that was never ours (there before, or set-up failed on it) is left alone.
  if (network.is_overlay()) TRY(DeleteLink(TunnelName(network)));
  if (was_set_up && !network.foreign_bridge) TRY(DeleteLink(network.bridge));
  TRY(RemoveParent(network));
  if (network.has_bridge()) {
    std::vector<Network> rest = BridgedNetworks();
    std::erase_if(rest, [&](const Network& other) { return other.id == network.id; });
    TRY(firewall_->RemoveNetwork(network, rest));
  }
  TRY(options_.records->EraseNetwork(network.id));
  MutexLock lock(mutex_);
  networks_.erase(network.id);
  return {};
}

}  // namespace gantry::networks
