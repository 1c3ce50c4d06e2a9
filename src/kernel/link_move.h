// SPDX-License-Identifier: Apache-2.0
//
// Moving a network interface into another network namespace with its addresses, which the kernel
// itself drops on the way. Any thread, each with its own sockets.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

struct LinkMove {
  std::string name;      // here
  std::string new_name;  // there; "eth%d": the kernel chooses a number
};

// `here` and `there` are route sockets, `there` one of the namespace `netns`. Permanent addresses
// of global scope come along; the interface is up in the end. A name that is taken there is
// kAlreadyExists, and nothing is moved then.
Result<> MoveLink(NetlinkSocket* here, NetlinkSocket* there, BorrowedFd netns,
                  const LinkMove& move);

}  // namespace gantry::kernel
