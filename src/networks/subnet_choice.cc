// SPDX-License-Identifier: Apache-2.0
#include "networks/subnet_choice.h"

#include <algorithm>

namespace gantry::networks {
namespace {

struct Pool {
  formats::Ipv4Prefix first;
  uint32_t count;
};

// docker's defaults (daemon option default-address-pools).
constexpr Pool kPools[] = {
    {{{172u << 24 | 17u << 16}, 16}, 15},
    {{{192u << 24 | 168u << 16}, 20}, 16},
};

}  // namespace

Result<formats::Ipv4Prefix> ChooseSubnet(const std::vector<formats::Ipv4Prefix>& used) {
  for (const Pool& pool : kPools) {
    for (uint32_t i = 0; i < pool.count; ++i) {
      formats::Ipv4Prefix candidate = pool.first;
      candidate.network.value += i << (32 - candidate.length);
      bool free = std::none_of(used.begin(), used.end(), [&](const formats::Ipv4Prefix& other) {
        return other.length > 0 && other.Overlaps(candidate);
      });
      if (free) return candidate;
    }
  }
  return MakeError(ErrorKind::kResourceExhausted,
                   "all predefined address pools have been fully subnetted");
}

}  // namespace gantry::networks
