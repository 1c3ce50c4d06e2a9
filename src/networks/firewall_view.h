// SPDX-License-Identifier: Apache-2.0
//
// Networks and published ports as one family's rules see them: what nft_firewall.cc and
// iptables_firewall.cc have in common. Plain data; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "networks/records.h"

namespace gantry::networks {

struct NetworkView {
  std::string subnet;  // "172.17.0.0/16"
  GatewayMode mode = GatewayMode::kNat;
  // Packets to the world leave with the host's address, or with this one.
  bool masquerade = false;
  std::string source;
};
// Nothing: the network has no addresses of this family.
std::optional<NetworkView> ViewOf(const Network& network, bool ipv6);

struct PortView {
  std::string host_ip;     // "": all of the host's
  uint16_t host_port = 0;  // 0: no rule leads there, the port is only exposed
  std::string address;     // the container's
  uint16_t container_port = 0;
  Protocol protocol = Protocol::kTcp;
  // Of a range: this many ports in a row, each led to the one of its own number.
  uint16_t count = 1;
};
// What leads to the endpoint at addresses of this family. Ports on loopback or link-local addresses
// are not there: no packet from outside can be led to them, gantry-proxy does it.
std::vector<PortView> PortsOf(const Endpoint& endpoint, bool ipv6);
// Everything that is published, at the container's own address; without host addresses and ports.
std::vector<PortView> ExposedBy(const Endpoint& endpoint, bool ipv6);

// A port that a container reaches at a neighbour that is else kept from it.
struct Opening {
  bool ipv6 = false;
  std::string from;
  std::string to;
  ExposedPort port;
  auto operator<=>(const Opening&) const = default;
};
// Of endpoints that reach others: the ports that those expose or publish, at their addresses now.
std::vector<Opening> OpeningsOf(const std::vector<Endpoint>& endpoints, bool ipv6);

}  // namespace gantry::networks
