// SPDX-License-Identifier: Apache-2.0
//
// Which subnet a network gets when nobody says: the first of the pools' that is free on this host.
// Pure; any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/ip_address.h"

namespace gantry::networks {

// The prefix `base` in parts of `size` bits: one entry of the daemon's default-address-pools.
template <typename Prefix>
struct BasicSubnetPool {
  Prefix base;
  uint8_t size = 0;  // at least base.length
  bool operator==(const BasicSubnetPool&) const = default;
};
using SubnetPool = BasicSubnetPool<formats::Ipv4Prefix>;
using SubnetPool6 = BasicSubnetPool<formats::Ipv6Prefix>;

// docker's: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in parts of /20.
std::vector<SubnetPool> DefaultSubnetPools();
// docker's: a /48 of unique local addresses (RFC 4193) that follows from the engine's id, in parts
// of /64, so that two hosts' networks are not the same.
std::vector<SubnetPool6> DefaultSubnetPools6(std::string_view engine_id);

// The same pools in parts of this size; those that are smaller are left out.
template <typename Prefix>
std::vector<BasicSubnetPool<Prefix>> InParts(std::vector<BasicSubnetPool<Prefix>> pools,
                                             std::optional<uint8_t> length) {
  if (!length) return pools;
  std::erase_if(pools, [&](const auto& pool) { return pool.base.length > *length; });
  for (auto& pool : pools) pool.size = *length;
  return pools;
}

// `used`: the host's addresses and routes and the other networks; a default route (length 0)
// forbids nothing. kResourceExhausted, in docker's words.
template <typename Prefix>
Result<Prefix> ChooseSubnet(const std::vector<BasicSubnetPool<Prefix>>& pools,
                            const std::vector<Prefix>& used);

}  // namespace gantry::networks
