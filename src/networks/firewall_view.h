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
};
// The ports that are published at addresses of this family. Those on loopback or link-local
// addresses have no host port here: no packet from outside can be led to them, gantry-proxy does
// it.
std::vector<PortView> PortsOf(const Endpoint& endpoint, bool ipv6);

}  // namespace gantry::networks
