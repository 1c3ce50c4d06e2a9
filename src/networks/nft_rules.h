// SPDX-License-Identifier: Apache-2.0
//
// The fixed part of the stack's nft tables (docs/firewall.md): sets, chains and rules, the same for
// IPv4 and IPv6. Networks and ports are only elements of the sets, so that a container's ports are
// one transaction whose cost grows with its own ports alone. Used by nft_firewall.cc. Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/nftables.h"
#include "networks/firewall_backend.h"

namespace gantry::networks {

// Of networks: interfaces' names, pairs of them (in . out), subnets.
inline constexpr const char* kSetBridges = "bridges";          // our bridges
inline constexpr const char* kSetInternal = "internal";        // those without a way out
inline constexpr const char* kSetIcc = "icc";                  // containers reach each other
inline constexpr const char* kSetApart = "apart";              // they don't, but by links
inline constexpr const char* kSetUnprotected = "unprotected";  // every port is reached
inline constexpr const char* kSetRouted = "routed";            // containers' addresses outside
inline constexpr const char* kSetDirect = "direct";    // published ports at containers' addresses
inline constexpr const char* kSetTrusted = "trusted";  // reached so from one interface
inline constexpr const char* kSetMasquerade = "masquerade";  // leave with the host's address
inline constexpr const char* kSetSource = "source";          // leave with an address: subnet → it
// Of endpoints.
inline constexpr const char* kSetPorts = "ports";       // proto . port → container
inline constexpr const char* kSetPortsAt = "ports-at";  // address . proto . port → container
inline constexpr const char* kSetExposed = "exposed";   // a container's address . proto . port
inline constexpr const char* kSetLinked = "linked";     // from . to . proto . port
// The same of many ports in a row that keep their numbers: one element each.
inline constexpr const char* kSetPortRanges = "port-ranges";
inline constexpr const char* kSetPortRangesAt = "port-ranges-at";
inline constexpr const char* kSetExposedRanges = "exposed-ranges";

std::vector<kernel::NftSet> NftSets(kernel::NftFamily family);

struct NftFixedRule {
  kernel::NftRule expressions;
  // Says in `nft list ruleset` why the rule is there, and tells at start-up that it is.
  std::string comment;
};
struct NftFixedChain {
  kernel::NftBaseChain base;
  std::vector<NftFixedRule> rules;
};
// `accepted`: packets that may into networks, whatever they are.
std::vector<NftFixedChain> NftChains(kernel::NftFamily family,
                                     const std::optional<PacketMark>& accepted);

}  // namespace gantry::networks
