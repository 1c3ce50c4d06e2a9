// SPDX-License-Identifier: Apache-2.0
//
// An interface that answers for neighbours who can't hear each other ("private VLANs", RFC 3069):
// packets between them then come to the host, whose rules decide what it passes on. Used by
// networks/linked.cc for bridges whose ports are isolated. Any thread, each with its own socket.
#pragma once

#include <netinet/in.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

// IPv4: for every address that the host reaches over this interface (proxy_arp_pvlan,
// Documentation/networking/ip-sysctl.rst), at once.
Result<> AnswerForNeighbours(const std::string& interface, bool on);
// IPv6: the kernel answers for exactly these addresses, at once; none: for nobody any more.
Result<> AnswerForNeighbours6(NetlinkSocket* socket, const std::string& interface,
                              const std::vector<in6_addr>& addresses);

}  // namespace gantry::kernel
