// SPDX-License-Identifier: Apache-2.0
//
// Who keeps the host's packet rules: `--firewall-backend` (docs/firewall.md). Plain data.
#pragma once

#include <cstdint>
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
// "nftables", "iptables" or "none"; kInvalidArgument for anything else.
Result<FirewallBackend> ParseFirewallBackend(std::string_view name);
std::string_view FirewallBackendName(FirewallBackend backend);

}  // namespace gantry::networks
