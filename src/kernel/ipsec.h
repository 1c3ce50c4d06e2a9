// SPDX-License-Identifier: Apache-2.0
//
// Packets to one UDP port between hosts, encrypted by the kernel: IPsec's ESP in transport mode
// with AES-256 in GCM (RFC 4301, 4303, 4106; ip-xfrm(8)). An association says how the packets of
// one direction are encrypted, a policy which packets have to be. As in rtnetlink.h, Append…
// functions add messages to a batch, List… functions dump; the sockets are of NETLINK_XFRM.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

// AES-256's key and the salt of its nonces (RFC 4106 section 8.1).
using AssociationKey = std::array<uint8_t, 36>;

// One direction, from host to host. `spi` is what its packets are known by at `to`, host byte
// order, 256 or more (RFC 4303 section 2.1).
struct Association {
  in_addr from{};
  in_addr to{};
  uint32_t spi = 0;
  auto Id() const { return std::tuple(from.s_addr, to.s_addr, spi); }
};

// `owner` is the number that whoever made an association finds it again by (reqid). Packets that
// were recorded and sent again are dropped.
void AppendAssociation(NetlinkBatch* batch, const Association& association,
                       const AssociationKey& key, uint32_t owner);
void AppendForgetAssociation(NetlinkBatch* batch, const Association& association);
Result<std::vector<Association>> ListAssociations(NetlinkSocket* socket, uint32_t owner);

// Packets for the port from and to these hosts are encrypted as that association says, from now on;
// in place of what was said before.
void AppendEncrypt(NetlinkBatch* batch, const Association& association, uint16_t port,
                   uint32_t owner);
void AppendForgetEncrypt(NetlinkBatch* batch, in_addr from, in_addr to, uint16_t port);
// Packets for the port that nothing encrypts do not leave, and those that come without having been
// encrypted by an association of `owner` are dropped.
void AppendRefusePlain(NetlinkBatch* batch, uint16_t port, uint32_t owner);
void AppendForgetRefusal(NetlinkBatch* batch, uint16_t port);

struct PortPolicies {
  std::vector<Association> encrypted;
  bool out_refused = false;
  bool in_refused = false;
};
Result<PortPolicies> ListPolicies(NetlinkSocket* socket, uint16_t port);

}  // namespace gantry::kernel
