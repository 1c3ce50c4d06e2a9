// SPDX-License-Identifier: Apache-2.0
#include "networks/forward_gate.h"

#include <algorithm>

#include "base/io.h"
#include "base/text.h"
#include "kernel/nftables.h"
#include "networks/firewall_view.h"

namespace gantry::networks {
namespace {

constexpr const char* kTable = "filter";
constexpr const char* kForward = "FORWARD";
constexpr const char* kUserChain = "DOCKER-USER";

// How other engines name their bridges.
constexpr const char* kForeignBridges[] = {"docker+", "br-+",   "podman+", "cni+",
                                           "virbr+",  "lxcbr+", "lxdbr+"};

// Asking with its program would make the table.
Result<bool> IsInUse(IptablesVariant variant, bool ipv6) {
  if (variant == IptablesVariant::kNft) {
    auto socket = TRY(kernel::NetlinkSocket::Open(NETLINK_NETFILTER));
    return kernel::NftTableExists(
        &socket, ipv6 ? kernel::NftFamily::kIpv6 : kernel::NftFamily::kIpv4, kTable);
  }
  // There is no such file where the kernel has no legacy tables.
  auto names = ReadFile(ipv6 ? "/proc/thread-self/net/ip6_tables_names"
                             : "/proc/thread-self/net/ip_tables_names");
  if (!names.ok()) {
    if (names.error().kind() == ErrorKind::kNotFound) return false;
    return std::move(names).error();
  }
  std::vector<std::string> words = SplitWords(*names, "\n");
  return std::find(words.begin(), words.end(), kTable) != words.end();
}

}  // namespace

std::vector<std::string> RulesOut(const std::vector<Network>& networks) {
  std::vector<std::string> rules;
  for (const char* bridge : kForeignBridges)
    rules.push_back(fmt::format("-o {} -j RETURN", bridge));
  for (const Network& network : networks) {
    rules.push_back(fmt::format("-i {} -j ACCEPT", network.bridge));
  }
  return rules;
}

std::vector<std::string> ForwardGate::RulesFor(const IptablesTable& filter,
                                               const std::vector<Network>& networks) const {
  auto forward = filter.find(kForward);
  if (networks.empty() || forward == filter.end()) return {};
  bool has_user_chain = filter.contains(kUserChain);
  std::string jump = fmt::format("-A {} -j {}", kForward, chain_);
  bool filters = std::any_of(forward->second.rules.begin(), forward->second.rules.end(),
                             [&](const std::string& rule) { return rule != jump; });
  if (!has_user_chain && !filters && forward->second.policy == "ACCEPT") return {};
  std::vector<std::string> rules;
  auto add = [&](const std::string& rule) {
    rules.push_back(fmt::format("-A {} {}", chain_, rule));
  };
  if (has_user_chain) add(fmt::format("-j {}", kUserChain));
  for (const Network& network : networks) {
    const std::string& bridge = network.bridge;
    if (!host_decides_) {
      add(fmt::format("-o {} -j ACCEPT", bridge));
      continue;
    }
    add(fmt::format("-o {} {} -j ACCEPT", bridge, kAnswers));
    add(fmt::format("-i {} -o {} -j ACCEPT", bridge, bridge));
  }
  for (const std::string& rule : RulesOut(networks)) add(rule);
  return rules;
}

Result<std::vector<std::string>> ForwardGate::Repair(const std::vector<Network>& networks) const {
  std::vector<std::string> changes;
  for (bool ipv6 : {false, true}) {
    std::vector<Network> of_family;
    for (const Network& network : networks) {
      if (ViewOf(network, ipv6)) of_family.push_back(network);
    }
    for (IptablesVariant variant : {IptablesVariant::kLegacy, IptablesVariant::kNft}) {
      if (!TRY(IsInUse(variant, ipv6))) continue;
      Iptables iptables =
          TRY_WITH(Iptables::Find(variant, ipv6), "letting packets of bridges through iptables");
      IptablesTable filter = TRY(iptables.Save(kTable));
      std::vector<std::string> lines;
      RepairChain(filter, {chain_, {kForward}}, RulesFor(filter, of_family), &lines);
      if (lines.empty()) continue;
      TRY(iptables.Change(kTable, lines));
      changes.push_back(fmt::format("chain '{}' of {} made right", chain_, iptables.name()));
    }
  }
  return changes;
}

}  // namespace gantry::networks
