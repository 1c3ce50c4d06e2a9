// SPDX-License-Identifier: Apache-2.0
//
// Which program has a port of this host, for the error of one that can't be had. Looks through
// /proc, so only for errors. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace gantry::kernel {

struct PortHolder {
  pid_t pid = 0;
  std::string program;  // /proc/PID/comm
};

enum class PortKind { kTcp, kUdp, kSctp };

// In the calling thread's network namespace, whatever address it is bound to. Nothing: nobody, or
// somebody who can't be seen.
std::optional<PortHolder> FindPortHolder(PortKind kind, uint16_t port);

}  // namespace gantry::kernel
