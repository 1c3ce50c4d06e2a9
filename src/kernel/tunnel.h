// SPDX-License-Identifier: Apache-2.0
//
// VXLAN tunnels (RFC 7348, ip-link(8)) that learn nothing: which host has a neighbour, and what its
// MAC address is, is told to them (bridge(8), ip-neighbour(8)), so no packet is flooded to all. As
// in rtnetlink.h, Append… functions add messages to a batch, List… functions dump.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernel/netlink.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {

struct TunnelSpec {
  std::string name;
  uint32_t vni = 0;  // 24 bits
  in_addr local{};   // packets leave with this address of the host
  uint16_t port = 4789;
  uint32_t mtu = 1450;
  int master = 0;  // index of its bridge
};
// Up. It answers questions for its neighbours' MAC addresses itself (ARP, and ND where it has
// IPv6), and drops what it does not know where to send.
void AppendCreateTunnel(NetlinkBatch* batch, const TunnelSpec& spec);

// The address that packets of this one leave with; unspecified of an interface that is no tunnel.
Result<in_addr> TunnelLocal(NetlinkSocket* socket, int index);

// Frames for this MAC address leave by the tunnel `index` to that host: two messages, one for the
// tunnel and one for the bridge that it is a port of, which so doesn't flood them to other ports.
// In place of what was said before.
void AppendForward(NetlinkBatch* batch, int index, const HardwareAddress& mac, in_addr host);
void AppendForgetForward(NetlinkBatch* batch, int index, const HardwareAddress& mac);

void AppendNeighbour(NetlinkBatch* batch, int index, in_addr address, const HardwareAddress& mac);
void AppendNeighbour6(NetlinkBatch* batch, int index, const in6_addr& address,
                      const HardwareAddress& mac);
void AppendForgetNeighbour(NetlinkBatch* batch, int index, in_addr address);
void AppendForgetNeighbour6(NetlinkBatch* batch, int index, const in6_addr& address);

// What the tunnel was told.
struct Forward {
  HardwareAddress mac{};
  in_addr host{};
};
Result<std::vector<Forward>> ListForwards(NetlinkSocket* socket, int index);
struct Neighbour {
  in_addr address{};
  HardwareAddress mac{};
};
Result<std::vector<Neighbour>> ListNeighbours(NetlinkSocket* socket, int index);
struct Neighbour6 {
  in6_addr address{};
  HardwareAddress mac{};
};
Result<std::vector<Neighbour6>> ListNeighbours6(NetlinkSocket* socket, int index);

}  // namespace gantry::kernel
