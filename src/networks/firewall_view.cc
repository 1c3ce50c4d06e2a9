// SPDX-License-Identifier: Apache-2.0
#include "networks/firewall_view.h"

#include <algorithm>
#include <set>
#include <tuple>

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

// Fewer in a row are as cheap one by one, in a set that is faster to look at.
constexpr size_t kShortestRange = 4;

bool Follows(const PortView& before, const PortView& next) {
  bool keep = next.host_port == 0 ||
              (next.host_port == next.container_port && before.host_port == before.container_port);
  return keep && next.host_ip == before.host_ip && next.protocol == before.protocol &&
         (next.host_port == 0) == (before.host_port == 0) &&
         next.container_port == before.container_port + 1;
}

// What follows each other and keeps its numbers becomes one.
std::vector<PortView> Merge(std::vector<PortView> ports) {
  auto key = [](const PortView& port) {
    return std::tie(port.host_ip, port.protocol, port.container_port, port.host_port);
  };
  std::sort(ports.begin(), ports.end(),
            [&](const PortView& a, const PortView& b) { return key(a) < key(b); });
  auto repeated =
      std::unique(ports.begin(), ports.end(),
                  [&](const PortView& a, const PortView& b) { return key(a) == key(b); });
  ports.erase(repeated, ports.end());
  std::vector<PortView> merged;
  for (size_t begin = 0; begin < ports.size();) {
    size_t end = begin + 1;
    while (end < ports.size() && Follows(ports[end - 1], ports[end])) ++end;
    if (end - begin >= kShortestRange) {
      merged.push_back(ports[begin]);
      merged.back().count = static_cast<uint16_t>(end - begin);
    } else {
      merged.insert(merged.end(), ports.begin() + static_cast<std::ptrdiff_t>(begin),
                    ports.begin() + static_cast<std::ptrdiff_t>(end));
    }
    begin = end;
  }
  return merged;
}

// As they were published, of this family.
std::vector<PortView> AllPorts(const Endpoint& endpoint, bool ipv6) {
  std::vector<PortView> ports;
  if (ipv6 ? !endpoint.address6.has_value() : !endpoint.has_ipv4()) return ports;
  std::string address = ipv6 ? endpoint.address6->ToString() : endpoint.address.ToString();
  std::vector<PublishedPort> published = endpoint.ports;
  published.insert(published.end(), endpoint.routed_ports.begin(), endpoint.routed_ports.end());
  for (const PublishedPort& port : published) {
    std::optional<HostAddress> host = Look(port.host_ip, ipv6);
    if (!host) continue;
    ports.push_back({host->any ? "" : port.host_ip, host->leads ? port.host_port : uint16_t{0},
                     address, port.container_port, port.protocol});
  }
  return ports;
}

}  // namespace

std::optional<NetworkView> ViewOf(const Network& network, bool ipv6) {
  if (ipv6 ? !network.subnet6.has_value() : !network.has_ipv4()) return std::nullopt;
  NetworkView view;
  view.subnet = ipv6 ? network.subnet6->ToString() : network.subnet.ToString();
  view.mode = ipv6 ? network.mode6 : network.mode4;
  bool translates = view.mode == GatewayMode::kNat || view.mode == GatewayMode::kNatUnprotected;
  view.masquerade = translates && network.masquerade && !network.closed();
  if (ipv6 && network.host_ipv6) view.source = network.host_ipv6->ToString();
  if (!ipv6 && network.host_ipv4) view.source = network.host_ipv4->ToString();
  return view;
}

std::vector<PortView> PortsOf(const Endpoint& endpoint, bool ipv6) {
  std::vector<PortView> ports = AllPorts(endpoint, ipv6);
  std::erase_if(ports, [](const PortView& port) { return port.host_port == 0; });
  return Merge(std::move(ports));
}

std::vector<Opening> OpeningsOf(const std::vector<Endpoint>& endpoints, bool ipv6) {
  auto address = [&](const Endpoint& endpoint) {
    if (ipv6) return endpoint.address6 ? endpoint.address6->ToString() : std::string();
    return endpoint.has_ipv4() ? endpoint.address.ToString() : std::string();
  };
  std::set<Opening> openings;
  for (const Endpoint& from : endpoints) {
    if (from.reaches.empty() || address(from).empty()) continue;
    for (const Endpoint& to : endpoints) {
      bool reached = to.network_id == from.network_id && !address(to).empty() &&
                     std::find(from.reaches.begin(), from.reaches.end(), to.container_id) !=
                         from.reaches.end();
      if (!reached) continue;
      auto open = [&](const ExposedPort& port) {
        openings.insert({ipv6, address(from), address(to), port});
      };
      for (const ExposedPort& port : to.exposes) open(port);
      for (const PublishedPort& port : to.ports) open({port.container_port, port.protocol});
    }
  }
  return {openings.begin(), openings.end()};
}

std::vector<PortView> ExposedBy(const Endpoint& endpoint, bool ipv6) {
  std::vector<PortView> ports = AllPorts(endpoint, ipv6);
  for (PortView& port : ports) {
    port.host_ip.clear();
    port.host_port = 0;
  }
  return Merge(std::move(ports));
}

}  // namespace gantry::networks
