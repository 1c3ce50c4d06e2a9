// SPDX-License-Identifier: Apache-2.0
//
// A container's interface on a network: the veth between bridge and namespace, and what is inside.
#include <cerrno>

#include "base/text.h"
#include "kernel/interface_settings.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

// docker's, of addresses that the user adds by --link-local-ip.
constexpr uint8_t kLinkLocalLength = 16;
constexpr uint8_t kLinkLocalLength6 = 64;

// "net.ipv4.conf.IFNAME.log_martians=1"; the names were checked when it was asked for.
Result<> ApplySysctl(const std::string& interface, const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return InvalidArgument("expected sysctl '{}' to have format name=value", text);
  }
  std::vector<std::string> parts = Split(text.substr(0, equals), '.');
  if (parts.size() != 5) {
    return InvalidArgument("expected sysctl '{}' to have format net.X.Y.IFNAME.Z", text);
  }
  return kernel::SetInterfaceSetting(parts[1], parts[2], interface, parts[4],
                                     text.substr(equals + 1));
}

Result<> AppendAddresses(const Endpoint& endpoint, int index, kernel::NetlinkBatch* batch) {
  if (endpoint.has_ipv4()) {
    kernel::AppendAddAddress(batch, index, InAddr(endpoint.address), endpoint.prefix_length);
  }
  if (endpoint.address6) {
    kernel::AppendAddAddress6(batch, index, InAddr6(*endpoint.address6), endpoint.prefix_length6);
  }
  for (const std::string& text : endpoint.link_local) {
    if (text.find(':') == std::string::npos) {
      auto address = TRY(formats::Ipv4Address::Parse(text));
      kernel::AppendAddAddress(batch, index, InAddr(address), kLinkLocalLength);
    } else {
      auto address = TRY(formats::Ipv6Address::Parse(text));
      kernel::AppendAddAddress6(batch, index, InAddr6(address), kLinkLocalLength6);
    }
  }
  return {};
}

std::string AddressesText(const Endpoint& endpoint) {
  std::string text = endpoint.has_ipv4() ? endpoint.address.ToString() : "";
  if (endpoint.address6) text += (text.empty() ? "" : ", ") + endpoint.address6->ToString();
  return text;
}

}  // namespace

// Makes a port of a bridge, if need be in the place of one that is about to go.
Result<> KernelController::JoinBridge(
    const std::function<Result<>(kernel::NetlinkSocket*)>& transact) {
  auto socket = TRY(route_sockets_.Take());
  auto is_full = [](const Result<>& joined) {
    return !joined.ok() && joined.error().error_number() == EXFULL;
  };
  auto joined = transact(socket.get());
  if (is_full(joined) && TRY(DeleteDying())) joined = transact(socket.get());
  if (is_full(joined)) joined.error().AddHint("a bridge takes at most 1,023 containers");
  return joined;
}

Result<> KernelController::CreateLink(const Endpoint& endpoint, int bridge_index,
                                      kernel::NetNamespace* netns, Port port) {
  Network network = TRY(InspectNetwork(endpoint.network_id));
  if (!network.has_bridge()) {
    TRY(CreateSubLink(network, endpoint, netns));
    TRY(FillInterface(endpoint, netns, port));
    return endpoint.rates.limited() ? LimitLink(endpoint, netns) : Result<>();
  }
  bool last = port == Port::kLast;
  kernel::VethSpec spec;
  spec.name = endpoint.host_link;
  // In a namespace that runs already the port of the bridge comes last: one without bridge is half
  // made, which a restart sees. A new namespace is of no container yet; what is half made goes.
  spec.master = last ? 0 : bridge_index;
  spec.peer = endpoint.interface;
  spec.peer_netns = netns->fd;
  spec.peer_mac = endpoint.mac.bytes;
  spec.mtu = network.mtu;
  auto create = [&](kernel::NetlinkSocket* socket) {
    kernel::NetlinkBatch batch;
    kernel::AppendCreateVeth(&batch, spec);
    // The firewall sees what a bridge passes on only where br_netfilter is there and on.
    if (!network.icc && !last) kernel::AppendIsolatePort(&batch, spec.name);
    return socket->Transact(&batch);
  };
  auto created = JoinBridge(create);
  if (!created.ok() && created.error().error_number() == EEXIST) {
    created.error().AddHint(fmt::format("the container has an interface '{}' already", spec.peer));
  }
  TRY_WITH(std::move(created), "making interface '{}' of network {}", spec.name,
           endpoint.network_name);
  // The host that stands between linked neighbours (linked.cc) tells them of each other's MAC
  // address, which would lead them past it.
  if (network.is_default && !network.icc && endpoint.address6) {
    TRY(kernel::RunInNetNamespace(netns->fd, [&] {
      return kernel::SetInterfaceSetting("ipv6", "conf", endpoint.interface, "accept_redirects",
                                         "0");
    }));
  }
  TRY(FillInterface(endpoint, netns, port));
  if (endpoint.rates.limited()) TRY(LimitLink(endpoint, netns));
  if (!last) return {};
  auto join = [&](kernel::NetlinkSocket* socket) -> Result<> {
    kernel::NetlinkBatch batch;
    kernel::AppendSetMaster(&batch, TRY(kernel::LinkIndex(*socket, spec.name)), bridge_index);
    if (!network.icc) kernel::AppendIsolatePort(&batch, spec.name);
    return socket->Transact(&batch);
  };
  TRY_WITH(JoinBridge(join), "making '{}' a port of network {}", spec.name, endpoint.network_name);
  return {};
}

// Addresses, the user's sysctls (which may take addresses away), up, routes.
Result<> KernelController::FillInterface(const Endpoint& endpoint, kernel::NetNamespace* netns,
                                         Port port) {
  const std::string& interface = endpoint.interface;
  bool ipv6 = endpoint.address6.has_value();
  // A namespace of our own has IPv6 off for interfaces that come.
  if (ipv6 || port == Port::kLast) {
    TRY_WITH(kernel::RunInNetNamespace(netns->fd, [&] { return kernel::SetIpv6(interface, ipv6); }),
             "turning IPv6 {} for '{}'", ipv6 ? "on" : "off", interface);
  }
  int index = TRY(kernel::LinkIndex(netns->route, interface));
  kernel::NetlinkBatch batch;
  TRY(AppendAddresses(endpoint, index, &batch));
  if (!endpoint.sysctls.empty()) {
    TRY_WITH(netns->route.Transact(&batch), "giving '{}' its address {}", interface,
             AddressesText(endpoint));
    batch = kernel::NetlinkBatch();
    TRY(kernel::RunInNetNamespace(netns->fd, [&]() -> Result<> {
      for (const std::string& sysctl : endpoint.sysctls) TRY(ApplySysctl(interface, sysctl));
      return {};
    }));
  }
  kernel::AppendLinkUp(&batch, index);
  AppendDefaultRoutes(endpoint, index, &batch);
  TRY_WITH(netns->route.Transact(&batch), "giving '{}' its address {} and route", interface,
           AddressesText(endpoint));
  return {};
}

Result<> KernelController::DeleteLink(const std::string& name) {
  auto socket = TRY(route_sockets_.Take());
  return kernel::DeleteLink(socket.get(), name);
}

}  // namespace gantry::networks
