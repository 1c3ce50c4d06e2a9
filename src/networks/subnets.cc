// SPDX-License-Identifier: Apache-2.0
//
// A new network's subnets and what of them is not for containers, the same for both families:
// checked, or chosen where nobody says.
#include <arpa/inet.h>

#include <algorithm>

#include "kernel/rtnetlink.h"
#include "networks/controller.h"
#include "networks/subnet_choice.h"

namespace gantry::networks {
namespace {

using formats::Ipv4Prefix;
using formats::Ipv6Prefix;

template <typename Prefix>
using AddressOf = decltype(Prefix::network);

template <typename Prefix>
struct Wanted {
  std::optional<Prefix> range;
  const std::map<std::string, AddressOf<Prefix>>& auxiliary;
};

// Two addresses (RFC 3021, RFC 6164) or one have no further meaning.
bool IsEdge(const Ipv4Prefix& subnet, formats::Ipv4Address address) {
  return subnet.length < 31 && (address == subnet.network || address == subnet.Last());
}
bool IsEdge(const Ipv6Prefix& subnet, const formats::Ipv6Address& address) {
  return subnet.length < 127 && address == subnet.network;
}

// The gateway gets the first address that may be given out.
template <typename Prefix>
AddressOf<Prefix> FirstAddress(const Prefix& subnet, const std::optional<Prefix>& range) {
  const AddressOf<Prefix>& first = range ? range->network : subnet.network;
  return IsEdge(subnet, first) ? first.Plus(1) : first;
}

// One address is either the bridge's or a container's.
template <typename Prefix>
Result<> CheckRoom(const Prefix& subnet, const AddressOf<Prefix>& gateway) {
  constexpr int kBits = sizeof(AddressOf<Prefix>) * 8;
  if (subnet.length < kBits || gateway.IsUnspecified()) return {};
  return InvalidArgument("subnet '{}' has no room for a bridge and a container", subnet.ToString());
}

template <typename Prefix>
Result<> CheckAddresses(const Prefix& subnet, const Wanted<Prefix>& wanted,
                        const AddressOf<Prefix>& gateway) {
  const auto& range = wanted.range;
  if (range && (range->length < subnet.length || !subnet.Overlaps(*range))) {
    return InvalidArgument("invalid ip-range {}: it is no part of subnet {}", range->ToString(),
                           subnet.ToString());
  }
  bool has_gateway = !gateway.IsUnspecified();
  if (has_gateway && !subnet.Contains(gateway)) {
    return InvalidArgument("failed to allocate gateway ({}): Requested address is out of range",
                           gateway.ToString());
  }
  if (has_gateway && IsEdge(subnet, gateway)) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "failed to allocate gateway ({}): Address already in use", gateway.ToString());
  }
  for (const auto& [name, address] : wanted.auxiliary) {
    if (!subnet.Contains(address)) {
      return MakeError(ErrorKind::kPermissionDenied,
                       "auxiliary address: ({}:{}) must belong to the master pool: {}", name,
                       address.ToString(), subnet.ToString());
    }
    if (has_gateway && address == gateway) {
      return MakeError(ErrorKind::kPermissionDenied,
                       "failed to allocate secondary ip address ({}:{}): Address already in use",
                       name, address.ToString());
    }
  }
  return {};
}

// fe80::/64 may be a network's subnet; another part of it would meet the addresses that the kernel
// gives each interface.
Result<> CheckKind(const Ipv6Prefix& subnet) {
  const Ipv6Prefix link_local = *Ipv6Prefix::Parse("fe80::/64");
  if (subnet.network.IsMapped()) {
    return InvalidArgument("'{}' is not a valid IPv6 subnet", subnet.ToString());
  }
  if (subnet.network.IsMulticast()) {
    return InvalidArgument("multicast subnet '{}' is not allowed", subnet.ToString());
  }
  if (subnet != link_local && link_local.Overlaps(subnet)) {
    return InvalidArgument("'{}' clashes with the Link-Local prefix 'fe80::/64'",
                           subnet.ToString());
  }
  return {};
}

template <typename Prefix>
Result<> CheckOverlap(const Prefix& subnet, const std::vector<BasicSubnet<Prefix>>& of_other,
                      const Network& other) {
  for (const auto& item : of_other) {
    if (!item.subnet.Overlaps(subnet)) continue;
    return MakeError(ErrorKind::kPermissionDenied,
                     "Pool overlaps with other one on this address space: {} of network {}",
                     item.subnet.ToString(), other.name);
  }
  return {};
}

}  // namespace

Result<std::vector<Ipv4Prefix>> KernelController::UsedSubnets() {
  auto socket = TRY(route_sockets_.Take());
  std::vector<Ipv4Prefix> used;
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(socket.get()))) {
    used.push_back(Ipv4Prefix::Of({ntohl(item.address.s_addr)}, item.prefix_length));
  }
  for (const kernel::Route& route : TRY(kernel::ListRoutes(socket.get()))) {
    used.push_back({{ntohl(route.destination.s_addr)}, route.prefix_length});
  }
  for (const Network& network : ListNetworks()) {
    for (const Subnet& item : SubnetsOf(network)) used.push_back(item.subnet);
  }
  return used;
}

Result<std::vector<Ipv6Prefix>> KernelController::UsedSubnets6() {
  auto socket = TRY(route_sockets_.Take());
  std::vector<Ipv6Prefix> used;
  for (const kernel::LinkAddress6& item : TRY(kernel::ListAddresses6(socket.get()))) {
    used.push_back(Ipv6Prefix::Of(AddressOf6(item.address), item.prefix_length));
  }
  for (const kernel::Route6& route : TRY(kernel::ListRoutes6(socket.get()))) {
    used.push_back({AddressOf6(route.destination), route.prefix_length});
  }
  for (const Network& network : ListNetworks()) {
    for (const Subnet6& item : SubnetsOf6(network)) used.push_back(item.subnet);
  }
  return used;
}

Result<> KernelController::ChooseIpv4(const NetworkRequest& request, Network* network) {
  network->subnet =
      request.subnet
          ? *request.subnet
          : TRY(ChooseSubnet(InParts(options_.pools, request.subnet_length), TRY(UsedSubnets())));
  for (const Network& other : ListNetworks()) {
    if (other.id != network->id) TRY(CheckOverlap(network->subnet, SubnetsOf(other), other));
  }
  network->ip_range = request.ip_range;
  // An isolated bridge has no address, and one without that nobody is led to needs none. Without a
  // bridge the gateway is a machine outside, which the user knows of.
  bool told = network->has_bridge() || network->is_plugin();
  bool none = !told || network->mode4 == GatewayMode::kIsolated ||
              (network->inhibit_ipv4 && network->internal);
  if (!none) network->gateway = FirstAddress(network->subnet, request.ip_range);
  if (request.gateway) network->gateway = *request.gateway;
  TRY(CheckRoom(network->subnet, network->gateway));
  TRY(CheckAddresses<Ipv4Prefix>(network->subnet, {request.ip_range, request.auxiliary},
                                 network->gateway));
  for (const auto& [name, address] : request.auxiliary) network->auxiliary.push_back(address);
  return {};
}

Result<> KernelController::ChooseIpv6(const NetworkRequest& request, Network* network) {
  Ipv6Prefix subnet = request.subnet6
                          ? *request.subnet6
                          : TRY(ChooseSubnet(InParts(options_.pools6, request.subnet_length6),
                                             TRY(UsedSubnets6())));
  TRY(CheckKind(subnet));
  for (const Network& other : ListNetworks()) {
    if (other.id != network->id) TRY(CheckOverlap(subnet, SubnetsOf6(other), other));
  }
  formats::Ipv6Address gateway;
  bool told = network->has_bridge() || network->is_plugin();
  bool own = told && network->mode6 != GatewayMode::kIsolated;
  if (own) gateway = FirstAddress(subnet, request.ip_range6);
  if (request.gateway6) gateway = *request.gateway6;
  TRY(CheckRoom(subnet, gateway));
  TRY(CheckAddresses<Ipv6Prefix>(subnet, {request.ip_range6, request.auxiliary6}, gateway));
  network->subnet6 = subnet;
  network->gateway6 = gateway;
  network->ip_range6 = request.ip_range6;
  for (const auto& [name, address] : request.auxiliary6) network->auxiliary6.push_back(address);
  return {};
}

// Who asked for a size sees the subnet that was chosen.
void KernelController::ShowChosen(const NetworkRequest& request, Network* network) {
  for (IpamConfig& config : network->ipam) {
    bool ipv6 = config.subnet.find(':') != std::string::npos;
    if (!ipv6 && request.subnet_length) config.subnet = network->subnet.ToString();
    if (ipv6 && request.subnet_length6) config.subnet = network->subnet6->ToString();
  }
}

std::vector<SubnetUse> KernelController::UseOf(const std::string& network_id) const {
  std::vector<SubnetUse> uses;
  MutexLock lock(mutex_);
  auto found = networks_.find(network_id);
  if (found == networks_.end()) return uses;
  const NetworkState& state = found->second;
  if (!state.network.ipam_driver.empty() || state.network.is_cni()) return uses;
  auto add = [&](const auto& pool) {
    uses.push_back({pool.subnet().ToString(), pool.in_use(), pool.available()});
  };
  if (state.network.has_ipv4()) state.addresses.ForEach(add);
  if (state.addresses6) state.addresses6->ForEach(add);
  return uses;
}

// Those after the first, in the order that they were asked for. network's first ones are chosen.
Result<> KernelController::ChooseMore(const NetworkRequest& request, Network* network) {
  auto choose = [&](const auto& wanted, auto subnets_of, auto* out) -> Result<> {
    for (const auto& item : wanted) {
      using Prefix = std::decay_t<decltype(item.subnet)>;
      for (const Network& other : ListNetworks()) {
        TRY(CheckOverlap(item.subnet, subnets_of(other), other));
      }
      TRY(CheckOverlap(item.subnet, subnets_of(*network), *network));
      // Auxiliary addresses have lost their names here: errors tell the address.
      std::map<std::string, AddressOf<Prefix>> auxiliary;
      for (const auto& address : item.auxiliary) auxiliary[address.ToString()] = address;
      TRY(CheckAddresses<Prefix>(item.subnet, {item.ip_range, auxiliary},
                                 item.gateway.value_or(AddressOf<Prefix>{})));
      out->push_back(item);
    }
    return {};
  };
  TRY(choose(request.more, SubnetsOf, &network->more));
  return choose(request.more6, SubnetsOf6, &network->more6);
}

}  // namespace gantry::networks
