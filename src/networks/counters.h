// SPDX-License-Identifier: Apache-2.0
//
// What went through a container's interfaces, by the host's ends of them. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::networks {

// From the container's side: the other end of its veth received what it sent.
struct Counters {
  uint64_t received_bytes = 0;
  uint64_t received_packets = 0;
  uint64_t received_dropped = 0;
  uint64_t sent_bytes = 0;
  uint64_t sent_packets = 0;
  uint64_t sent_dropped = 0;
};

// By the host's interface (Endpoint::host_link), of the calling thread's network namespace.
Result<std::map<std::string, Counters>> ReadCounters();
// The text of /proc/net/dev.
std::map<std::string, Counters> ParseCounters(std::string_view text);

}  // namespace gantry::networks
