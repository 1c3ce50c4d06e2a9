// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets that a service manager opened and passed on (sd_listen_fds(3)): descriptors
// from 3 on, counted by LISTEN_FDS, meant for LISTEN_PID. One thread, at start.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::wire {

// LISTEN_PID of a daemon whose parent (gantryd --keep) hands its own on: the number of the child is
// not known before it is there.
inline constexpr std::string_view kInheritedListenPid = "inherited";

// How many there are; 0 when they are not this process's.
int CountActivatedSockets();

// `which`: "" or "*" takes all of them, a number the one of that descriptor. Non-blocking and
// close-on-exec. kNotFound when there is none.
Result<std::vector<UniqueFd>> TakeActivatedSockets(std::string_view which);

}  // namespace gantry::wire
