// SPDX-License-Identifier: Apache-2.0
#include "networks/firewall_view.h"

namespace gantry::networks {
namespace {

// Whether rules can lead packets for this address of the host; nothing: it is of the other family.
struct HostAddress {
  bool leads = false;
  bool any = false;
};
std::optional<HostAddress> Look(const std::string& text, bool ipv6) {
  if (ipv6) {
    auto address = formats::Ipv6Address::Parse(text);
    if (!address.ok()) return std::nullopt;
    return HostAddress{!address->IsLoopback() && !address->IsLinkLocal(), address->IsUnspecified()};
  }
  auto address = formats::Ipv4Address::Parse(text);
  if (!address.ok()) return std::nullopt;
  return HostAddress{!address->IsLoopback(), address->IsUnspecified()};
}

}  // namespace

std::optional<NetworkView> ViewOf(const Network& network, bool ipv6) {
  if (ipv6 ? !network.subnet6.has_value() : !network.has_ipv4()) return std::nullopt;
  NetworkView view;
  view.subnet = ipv6 ? network.subnet6->ToString() : network.subnet.ToString();
  view.mode = ipv6 ? network.mode6 : network.mode4;
  bool translates = view.mode == GatewayMode::kNat || view.mode == GatewayMode::kNatUnprotected;
  view.masquerade = translates && network.masquerade && !network.internal;
  if (ipv6 && network.host_ipv6) view.source = network.host_ipv6->ToString();
  if (!ipv6 && network.host_ipv4) view.source = network.host_ipv4->ToString();
  return view;
}

std::vector<PortView> PortsOf(const Endpoint& endpoint, bool ipv6) {
  std::vector<PortView> ports;
  if (ipv6 ? !endpoint.address6.has_value() : !endpoint.has_ipv4()) return ports;
  std::string address = ipv6 ? endpoint.address6->ToString() : endpoint.address.ToString();
  for (const PublishedPort& port : endpoint.ports) {
    std::optional<HostAddress> host = Look(port.host_ip, ipv6);
    if (!host) continue;
    ports.push_back({host->any ? "" : port.host_ip, host->leads ? port.host_port : uint16_t{0},
                     address, port.container_port, port.protocol});
  }
  return ports;
}

}  // namespace gantry::networks
