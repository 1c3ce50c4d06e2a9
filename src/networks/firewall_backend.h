// SPDX-License-Identifier: Apache-2.0
//
// Who keeps the host's packet rules: `--firewall-backend`, and what else the daemon's options say
// of them (docs/firewall.md). Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::networks {

enum class FirewallBackend : uint8_t { kNftables, kIptables, kNone };
// The families that have rules at all; none in the other.
struct FirewallFamilies {
  bool ipv4 = true;
  bool ipv6 = true;
  bool operator==(const FirewallFamilies&) const = default;
};

// Of packets that rules of the host's own have marked: skb->mark & mask == mark.
struct PacketMark {
  uint32_t mark = 0;
  uint32_t mask = 0xffffffff;
  bool operator==(const PacketMark&) const = default;
};
// "MARK[/MASK]" as Go reads numbers ("0x10", "16"). kInvalidArgument in dockerd's words.
Result<PacketMark> ParsePacketMark(const std::string& text);
std::string ToString(const PacketMark& mark);  // as iptables-save prints it: "0x10/0xff"

struct FirewallSetup {
  FirewallBackend backend = FirewallBackend::kNftables;
  FirewallFamilies families;
  // Published ports are reached at containers' own addresses, too, on every network.
  bool direct_routing = false;
  std::optional<PacketMark> accepted_mark;  // let into all networks but internal ones
  // What is published is let in by the host's own rules of what is forwarded, or not at all.
  bool host_decides = false;
  bool operator==(const FirewallSetup&) const = default;
};

// "nftables", "iptables" or "none"; kInvalidArgument for anything else.
Result<FirewallBackend> ParseFirewallBackend(std::string_view name);
std::string_view FirewallBackendName(FirewallBackend backend);

}  // namespace gantry::networks
