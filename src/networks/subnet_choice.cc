// SPDX-License-Identifier: Apache-2.0
#include "networks/subnet_choice.h"

#include <algorithm>
#include <optional>

#include "formats/digest.h"

namespace gantry::networks {
namespace {

// Nothing further on is free in this part of the pool when it returns nothing.
template <typename Prefix>
std::optional<Prefix> FirstFree(const BasicSubnetPool<Prefix>& pool,
                                const std::vector<Prefix>& used) {
  Prefix candidate = Prefix::Of(pool.base.network, pool.size);
  for (;;) {
    auto taken = std::find_if(used.begin(), used.end(), [&](const Prefix& other) {
      return other.length > 0 && other.Overlaps(candidate);
    });
    if (taken == used.end()) return candidate;
    // Behind both: each step leaves one of `used` behind, so a pool of 2^64 parts takes no longer.
    auto last = std::max(taken->Last(), candidate.Last());
    if (last >= pool.base.Last()) return std::nullopt;
    candidate.network = last.Plus(1);
  }
}

}  // namespace

std::vector<SubnetPool> DefaultSubnetPools() {
  std::vector<SubnetPool> pools;
  for (uint32_t second = 17; second < 32; ++second) {
    pools.push_back({{{172u << 24 | second << 16}, 16}, 16});
  }
  pools.push_back({{{192u << 24 | 168u << 16}, 16}, 20});
  return pools;
}

std::vector<SubnetPool6> DefaultSubnetPools6(std::string_view engine_id) {
  // fd, and the bytes 4 to 8 of the id's SHA-256 as RFC 4193's 40 bits: what docker takes, too.
  constexpr size_t kFirst = 3 * 2;
  constexpr size_t kDigits = 5 * 2;
  std::string hex(formats::Digest::Of(engine_id).hex());
  std::string bits = "fd" + hex.substr(kFirst, kDigits);
  std::string text =
      fmt::format("{}:{}:{}::/48", bits.substr(0, 4), bits.substr(4, 4), bits.substr(8, 4));
  auto base = formats::Ipv6Prefix::Parse(text);
  CHECK(base.ok());
  return {{*base, 64}};
}

template <typename Prefix>
Result<Prefix> ChooseSubnet(const std::vector<BasicSubnetPool<Prefix>>& pools,
                            const std::vector<Prefix>& used) {
  for (const auto& pool : pools) {
    if (auto free = FirstFree(pool, used)) return *free;
  }
  return MakeError(ErrorKind::kResourceExhausted,
                   "all predefined address pools have been fully subnetted");
}

template Result<formats::Ipv4Prefix> ChooseSubnet(const std::vector<SubnetPool>& pools,
                                                  const std::vector<formats::Ipv4Prefix>& used);
template Result<formats::Ipv6Prefix> ChooseSubnet(const std::vector<SubnetPool6>& pools,
                                                  const std::vector<formats::Ipv6Prefix>& used);

}  // namespace gantry::networks
