// SPDX-License-Identifier: Apache-2.0
//
// docker's "bridge" network as the daemon's options have it. It is recorded like any other; with
// other options it becomes what they say at the next start, each family for itself, unless a
// container has an address of it.
#include <arpa/inet.h>

#include <algorithm>

#include "base/log.h"
#include "base/random.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

using formats::Ipv4Address;
using formats::Ipv4Prefix;
using formats::Ipv6Address;
using formats::Ipv6Prefix;

constexpr uint8_t kLongestPrefix = 30;  // room for the bridge and a container
constexpr uint8_t kLongestPrefix6 = 126;

// One entry of inspect's `IPAM.Config`, in place of that family's.
template <typename Prefix, typename Address>
void ShowIpam(const Prefix& subnet, const Address& gateway, const std::optional<Prefix>& range,
              const std::map<std::string, Address>& auxiliary, Network* network) {
  IpamConfig config;
  config.subnet = subnet.ToString();
  config.gateway = gateway.ToString();
  if (range) config.ip_range = range->ToString();
  for (const auto& [name, address] : auxiliary) config.auxiliary[name] = address.ToString();
  network->ipam.push_back(std::move(config));
}

void HideIpam(bool ipv6, Network* network) {
  std::erase_if(network->ipam, [&](const IpamConfig& config) {
    return (config.subnet.find(':') != std::string::npos) == ipv6;
  });
}

// No part of a subnet that the administrator's bridge has: nothing that the options can change.
template <typename Prefix>
bool IsOutside(const std::optional<Prefix>& range, const Prefix& subnet) {
  return range && (!subnet.Contains(range->network) || range->length < subnet.length);
}

// Nobody names a subnet: what the bridge has, as far as the range of the options lets it, as docker
// chooses.
template <typename Prefix, typename Address>
void StayAt(const Address& gateway, Prefix subnet, const std::optional<Prefix>& range,
            std::optional<Prefix>* wanted, std::optional<Address>* wanted_gateway) {
  if (range) {
    if (!subnet.Contains(range->network)) return;
    if (range->length < subnet.length) subnet = *range;
  }
  *wanted = subnet;
  if (!*wanted_gateway) *wanted_gateway = gateway;
}

}  // namespace

// One that is just beginning has no subnet yet.
Network KernelController::RecordedDefault() const {
  for (Network& candidate : ListNetworks()) {
    if (candidate.is_default && candidate.bridge == options_.bridge) return std::move(candidate);
  }
  Network network;
  network.id = RandomHex(32);
  network.name = "bridge";
  network.bridge = options_.bridge;
  network.is_default = true;
  network.created = WallClock::now();
  return network;
}

// Whoever made the bridge of another name than the usual one gave it its addresses too.
Result<bool> KernelController::HasForeignBridge(const Network& network) {
  if (network.bridge == kUsualBridge) return false;
  auto socket = TRY(route_sockets_.Take());
  return kernel::LinkIndex(*socket.get(), network.bridge).ok();
}

// A bridge of that name which has an address already (an administrator's, or records were lost)
// keeps it.
Result<> KernelController::PresentAddress(Network* network) {
  auto socket = TRY(route_sockets_.Take());
  auto bridge = kernel::LinkIndex(*socket.get(), network->bridge);
  if (!bridge.ok()) return {};
  const auto& range = options_.default_network.ip_range;
  bool first = true;
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(socket.get()))) {
    if (item.index != *bridge || item.prefix_length > kLongestPrefix) continue;
    Ipv4Address address{ntohl(item.address.s_addr)};
    Ipv4Prefix subnet = Ipv4Prefix::Of(address, item.prefix_length);
    if (!first && !(range && subnet.Contains(range->network))) continue;
    first = false;
    network->gateway = address;
    network->subnet = subnet;
  }
  return {};
}

// The same for IPv6. The address that the kernel gives every link is none of the user's, unless the
// options ask for its subnet.
Result<> KernelController::PresentAddress6(Network* network) {
  auto socket = TRY(route_sockets_.Take());
  auto bridge = kernel::LinkIndex(*socket.get(), network->bridge);
  if (!bridge.ok()) return {};
  const auto& range = options_.default_network.ip_range6;
  static const Ipv6Prefix kernels = *Ipv6Prefix::Parse("fe80::/64");
  bool first = true;
  for (const kernel::LinkAddress6& item : TRY(kernel::ListAddresses6(socket.get()))) {
    Ipv6Address address = AddressOf6(item.address);
    if (item.index != *bridge || item.prefix_length > kLongestPrefix6) continue;
    Ipv6Prefix subnet = Ipv6Prefix::Of(address, item.prefix_length);
    if (subnet == kernels && range != kernels) continue;
    if (!first && !(range && subnet.Contains(range->network))) continue;
    first = false;
    network->gateway6 = address;
    network->subnet6 = subnet;
  }
  return {};
}

Result<> KernelController::WantedIpv4(Network* network) {
  const DefaultNetworkOptions& wanted = options_.default_network;
  network->mtu = wanted.mtu;
  network->icc = wanted.icc;
  network->masquerade = wanted.masquerade;
  network->host_binding = wanted.host_binding;
  NetworkRequest request;
  request.subnet = wanted.subnet;
  request.gateway = wanted.gateway;
  request.ip_range = wanted.ip_range;
  if (wanted.told_gateway) request.auxiliary["DefaultGatewayIPv4"] = *wanted.told_gateway;
  if (!request.subnet) {
    bool foreign = network->foreign_bridge;
    if (network->subnet.length == 0 || foreign) TRY(PresentAddress(network));
    if (foreign && network->subnet.length != 0 && IsOutside(request.ip_range, network->subnet)) {
      log::Warning("fixed-cidr {} is not used: it is outside {}, which bridge '{}' has",
                   request.ip_range->ToString(), network->subnet.ToString(), network->bridge);
      request.ip_range.reset();
    }
    if (network->subnet.length != 0) {
      StayAt(network->gateway, network->subnet, request.ip_range, &request.subnet,
             &request.gateway);
    }
    if (!request.subnet) request.subnet = request.ip_range;
  }
  network->auxiliary.clear();
  TRY(ChooseIpv4(request, network));
  HideIpam(/*ipv6=*/false, network);
  ShowIpam(network->subnet, network->gateway, network->ip_range, request.auxiliary, network);
  std::rotate(network->ipam.begin(), network->ipam.end() - 1, network->ipam.end());
  return {};
}

Result<> KernelController::WantedIpv6(Network* network) {
  const DefaultNetworkOptions& wanted = options_.default_network;
  NetworkRequest request;
  request.subnet6 = wanted.subnet6;
  request.gateway6 = wanted.gateway6;
  request.ip_range6 = wanted.ip_range6;
  if (wanted.told_gateway6) request.auxiliary6["DefaultGatewayIPv6"] = *wanted.told_gateway6;
  if (!request.subnet6) {
    bool foreign = network->foreign_bridge;
    if (wanted.ipv6 && (!network->subnet6 || foreign)) TRY(PresentAddress6(network));
    bool outside = network->subnet6 && IsOutside(request.ip_range6, *network->subnet6);
    if (wanted.ipv6 && foreign && outside) {
      return InvalidArgument(
          "fixed-cidr-v6={} is outside any subnet implied by addresses on the user-managed default "
          "bridge",
          request.ip_range6->ToString());
    }
    if (network->subnet6 && network->gateway6) {
      StayAt(*network->gateway6, *network->subnet6, request.ip_range6, &request.subnet6,
             &request.gateway6);
    }
    if (!request.subnet6) request.subnet6 = request.ip_range6;
  }
  bool stays = network->gateway6 && request.subnet6 && *request.subnet6 == network->subnet6;
  if (!request.gateway6 && stays) request.gateway6 = network->gateway6;
  network->subnet6.reset();
  network->gateway6.reset();
  network->ip_range6.reset();
  network->auxiliary6.clear();
  HideIpam(/*ipv6=*/true, network);
  if (!wanted.ipv6) return {};
  TRY(ChooseIpv6(request, network));
  ShowIpam(*network->subnet6, *network->gateway6, network->ip_range6, request.auxiliary6, network);
  return {};
}

Result<> KernelController::FollowOptions(Network* network) {
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    bool ipv6 = family == Family::kIpv6;
    Network wanted = *network;
    TRY_WITH(ipv6 ? WantedIpv6(&wanted) : WantedIpv4(&wanted),
             "error creating default \"bridge\" network");
    if (wanted == *network) continue;
    std::vector<Endpoint> endpoints = ListEndpoints(network->id);
    auto holder = std::find_if(endpoints.begin(), endpoints.end(), [&](const Endpoint& item) {
      return ipv6 ? item.address6.has_value() : item.has_ipv4();
    });
    if (holder != endpoints.end()) {
      log::Warning("network {} keeps its {} settings: container '{}' has an address of it",
                   network->name, ipv6 ? "IPv6" : "IPv4", holder->container_id);
      continue;
    }
    TRY(ChangeBridge(*network, wanted));
    TRY(options_.records->PutNetwork(wanted));
    *network = wanted;
    MutexLock lock(mutex_);
    NetworkState& state = networks_.at(network->id);
    state.network = wanted;
    if (ipv6) {
      state.addresses6 = PoolsOf6(wanted);
    } else {
      state.addresses = PoolsOf(wanted);
    }
  }
  return {};
}

// What EnsureBridge does not see of a bridge that is there: before the record, so that a crash in
// between leaves something to change at the next start.
Result<> KernelController::ChangeBridge(const Network& before, const Network& after) {
  auto socket = TRY(route_sockets_.Take());
  auto found = kernel::FindLink(socket.get(), before.bridge);
  if (!found.ok() && found.error().kind() == ErrorKind::kNotFound) return {};
  kernel::Link link = TRY(std::move(found));
  kernel::NetlinkBatch batch;
  if (before.mtu != after.mtu) kernel::AppendSetMtu(&batch, link.index, after.mtu);
  bool moves = before.gateway != after.gateway || before.subnet != after.subnet;
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(socket.get()))) {
    bool old = item.index == link.index && ntohl(item.address.s_addr) == before.gateway.value &&
               item.prefix_length == before.subnet.length;
    if (moves && old) {
      kernel::AppendDeleteAddress(&batch, link.index, item.address, item.prefix_length);
    }
  }
  if (batch.message_count() == 0) return {};
  TRY_WITH(socket.get()->Transact(&batch), "changing bridge '{}'", before.bridge);
  return {};
}

}  // namespace gantry::networks
