// SPDX-License-Identifier: Apache-2.0
//
// Telling a link that an address has (now) that hardware address: a gratuitous ARP request
// (RFC 5227 section 3) and an unsolicited neighbour advertisement (RFC 4861 section 7.2.6). They
// are sent over a bridge for somebody behind one of its ports, so that they need no socket in that
// one's namespace, whose close would wait for a grace period. Used by networks/announce.cc. Any
// thread, each with its own sockets.
#pragma once

#include <netinet/in.h>

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/netlink.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {

// A packet socket that receives nothing, of the calling thread's namespace.
Result<UniqueFd> OpenAnnouncer();

// Ethernet frames, as they are sent.
std::string AnnouncementFrame(in_addr address, const HardwareAddress& mac);
std::string AnnouncementFrame6(const in6_addr& address, const HardwareAddress& mac);

// To all ports of the bridge. The bridge's own host does not hear it: UpdateNeighbour.
Result<> SendFrame(BorrowedFd announcer, int bridge_index, const std::string& frame);

// What this host knows of the address is made right; nothing known: nothing is done.
Result<> UpdateNeighbour(NetlinkSocket* socket, int index, in_addr address,
                         const HardwareAddress& mac);
Result<> UpdateNeighbour6(NetlinkSocket* socket, int index, const in6_addr& address,
                          const HardwareAddress& mac);

}  // namespace gantry::kernel
