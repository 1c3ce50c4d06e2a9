// SPDX-License-Identifier: Apache-2.0
//
// Interfaces that others made, taken into a namespace and given back (ip-link(8), "netns"). As in
// rtnetlink.h, each function adds one message to a batch.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "kernel/netlink.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {

// To that namespace, where it is called `name`; it is down there and has lost its addresses. Waits
// for a grace period of the kernel.
void AppendMoveLink(NetlinkBatch* batch, int index, BorrowedFd netns, const std::string& name);
void AppendSetMac(NetlinkBatch* batch, int index, const HardwareAddress& mac);

// To a subnet, by a gateway or, without one, straight over the interface.
void AppendRoute(NetlinkBatch* batch, int index, in_addr subnet, uint8_t length,
                 const std::optional<in_addr>& gateway);
void AppendRoute6(NetlinkBatch* batch, int index, const in6_addr& subnet, uint8_t length,
                  const std::optional<in6_addr>& gateway);

}  // namespace gantry::kernel
