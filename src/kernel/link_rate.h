// SPDX-License-Identifier: Apache-2.0
//
// How fast an interface sends: tc(8)'s htb with one class over all packets. Any thread, each with
// its own socket.
#pragma once

#include <cstdint>
#include <set>

#include "base/error.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

// Bits per second, each of the two at least 8.
struct LinkRate {
  uint64_t rate = 0;  // for long
  // At most, at any time: who has sent less than `rate` may send faster until a second's worth of
  // `rate` has gone. Not below `rate`.
  uint64_t ceil = 0;
};

// Sets or changes it; packets that wait are kept when it changes. kFailedPrecondition where the
// kernel has no htb or the interface has somebody else's queue.
Result<> SetLinkRate(NetlinkSocket* socket, int index, const LinkRate& rate);
// Takes it off. One that has none of ours: no error.
Result<> RemoveLinkRate(NetlinkSocket* socket, int index);
// The interfaces of the socket's namespace that have one of ours.
Result<std::set<int>> LinksWithRate(NetlinkSocket* socket);

}  // namespace gantry::kernel
