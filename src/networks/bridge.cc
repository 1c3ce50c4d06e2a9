// SPDX-License-Identifier: Apache-2.0
//
// A network's bridge on the host: the interface, its addresses, and that packets pass between the
// host's interfaces at all.
#include <net/if.h>

#include "base/io.h"
#include "base/random.h"
#include "kernel/interface_settings.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

// The kernel's own, of every interface.
const formats::Ipv6Prefix& LinkLocal() {
  static const formats::Ipv6Prefix prefix = *formats::Ipv6Prefix::Parse("fe80::/64");
  return prefix;
}

bool HasAddress(const Network& network) {
  return network.has_ipv4() && !network.inhibit_ipv4 && !network.gateway.IsUnspecified() &&
         network.mode4 != GatewayMode::kIsolated;
}

bool HasAddress6(const Network& network) {
  return network.subnet6 && !network.gateway6->IsUnspecified() &&
         network.mode6 != GatewayMode::kIsolated;
}

Result<> AppendMissingAddress(kernel::NetlinkSocket* socket, const Network& network, int index,
                              kernel::NetlinkBatch* batch) {
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(socket))) {
    bool same = item.index == index && ntohl(item.address.s_addr) == network.gateway.value &&
                item.prefix_length == network.subnet.length;
    if (same) return {};
  }
  kernel::AppendAddAddress(batch, index, InAddr(network.gateway), network.subnet.length);
  return {};
}

// The network's address, and none of what it had before (the default network's may change).
Result<> AppendAddresses6(kernel::NetlinkSocket* socket, const Network& network, int index,
                          kernel::NetlinkBatch* batch) {
  bool missing = HasAddress6(network);
  for (const kernel::LinkAddress6& item : TRY(kernel::ListAddresses6(socket))) {
    formats::Ipv6Address address = AddressOf6(item.address);
    if (item.index != index) continue;
    if (missing && address == *network.gateway6 && item.prefix_length == network.subnet6->length) {
      missing = false;
    } else if (!LinkLocal().Contains(address)) {
      kernel::AppendDeleteAddress6(batch, index, item.address, item.prefix_length);
    }
  }
  if (missing) {
    kernel::AppendAddAddress6(batch, index, InAddr6(*network.gateway6), network.subnet6->length);
  }
  return {};
}

// A host that forwards takes no more routes from routers, and forgets those it has, unless its
// interface says otherwise (accept_ra, Documentation/networking/ip-sysctl.rst).
Result<> KeepAdvertisedRoutes(kernel::NetlinkSocket* socket) {
  for (const kernel::Route6& route : TRY(kernel::ListRoutes6(socket))) {
    char name[IF_NAMESIZE];
    if (!route.advertised ||
        ::if_indextoname(static_cast<unsigned>(route.interface), name) == nullptr) {
      continue;
    }
    TRY(kernel::SetInterfaceSetting("ipv6", "conf", name, "accept_ra", "2"));
  }
  return {};
}

}  // namespace

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
  if (network.subnet6) {
    TRY(kernel::SetIpv6(network.bridge, network.mode6 != GatewayMode::kIsolated));
  }
  kernel::NetlinkBatch batch;
  if (!found->up) kernel::AppendLinkUp(&batch, found->index);
  if (HasAddress(network)) {
    TRY(AppendMissingAddress(socket.get(), network, found->index, &batch));
  }
  if (network.subnet6 || network.is_default) {
    TRY(AppendAddresses6(socket.get(), network, found->index, &batch));
  }
  if (batch.message_count() > 0) TRY(socket.get()->Transact(&batch));
  return found->index;
}

Result<> KernelController::EnableForwarding() {
  constexpr const char* kForwarding = "/proc/sys/net/ipv4/ip_forward";
  std::string now = TRY(ReadFile(kForwarding));
  // Written only when off: writing it again resets other settings of every interface.
  if (now.starts_with('0')) {
    TRY_WITH(WriteFile(kForwarding, "1"), "turning on forwarding of IPv4 packets");
  }
  return {};
}

Result<> KernelController::EnableForwarding6() {
  // "all" sets "default" and every interface, too; somebody may have turned one of them off since.
  for (const char* path :
       {"/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv6/conf/default/forwarding"}) {
    std::string now = TRY_WITH(ReadFile(path), "looking whether IPv6 packets are forwarded");
    if (!now.starts_with('0')) continue;
    auto socket = TRY(route_sockets_.Take());
    TRY(KeepAdvertisedRoutes(socket.get()));
    TRY_WITH(WriteFile(path, "1"), "turning on forwarding of IPv6 packets");
  }
  return {};
}

}  // namespace gantry::networks
