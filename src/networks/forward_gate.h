// SPDX-License-Identifier: Apache-2.0
//
// A packet passes only when every table of the host lets it: what our own nft table accepts may
// still be dropped by the policy of iptables' FORWARD chain (dockerd, ufw). So where iptables
// filters what is forwarded, its FORWARD gets a jump to a chain of ours, GANTRY-BRIDGE, that
// accepts what comes from and goes to our bridges; what may not has been dropped by our nft table.
//
// Where the host decides (publish-policy), what comes from elsewhere into our bridges goes on
// through FORWARD, but for answers and neighbours.
//
// Rules of users in DOCKER-USER, where there is such a chain, come first. Packets into the bridges
// of other engines go on through FORWARD: these engines decide. Nothing is made in tables that
// nobody uses. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "networks/iptables.h"
#include "networks/records.h"

namespace gantry::networks {

// Answers to what containers asked: the part of a rule that says so.
inline constexpr const char* kAnswers = "-m conntrack --ctstate RELATED,ESTABLISHED";

// What comes from the bridges, to anywhere but other engines' bridges, is let through: rules
// without their "-A CHAIN".
std::vector<std::string> RulesOut(const std::vector<Network>& networks);

class ForwardGate {
 public:
  ForwardGate(const std::string& stack, bool host_decides)
      : chain_("GANTRY-" + stack), host_decides_(host_decides) {}

  // Makes the chain and the jump, or takes them away where they are not needed (any more). Says
  // what it changed.
  Result<std::vector<std::string>> Repair(const std::vector<Network>& networks) const;

  // The rules of our chain in a filter table that looks so; none: the chain is not needed.
  std::vector<std::string> RulesFor(const IptablesTable& filter,
                                    const std::vector<Network>& networks) const;

 private:
  std::string chain_;
  bool host_decides_;
};

}  // namespace gantry::networks
