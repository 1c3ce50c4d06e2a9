// SPDX-License-Identifier: Apache-2.0
//
// Connection tracking over netlink (ctnetlink): forgetting what the kernel remembers of a host that
// is no more. A udp "connection" that goes on is never looked up in the nat rules again, so that
// after a container's end its packets would go to an address where nobody is, or somebody else.
// Any thread, each with its own socket.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

// Deletes every tracked connection of this protocol whose answers come from one of `sources`.
// Returns their number. Reads the whole table of the namespace.
Result<size_t> ForgetConnections(NetlinkSocket* socket, uint8_t protocol,
                                 const std::vector<in_addr>& sources);

}  // namespace gantry::kernel
