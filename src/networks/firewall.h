// SPDX-License-Identifier: Apache-2.0
//
// The stack's nft table: which packets its bridges let in and out, and where published ports lead.
// One fixed set of rules; networks and ports are only elements of sets and maps, so that a
// container's ports are one transaction whose cost grows with its own ports alone:
//
//   prerouting, output   a local address and a published port: to the container (dnat). Not for
//                        neighbours on our bridges and not for 127.0.0.0/8: those go to
//                        gantry-proxy
//   forward              into a bridge: answers, neighbours (icc), what was published; else drop.
//                        Out of an internal bridge: drop
//   postrouting          from a bridge's subnet to anywhere but our bridges: masquerade
//
// The table is adopted and repaired by difference, never flushed. Any thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernel/nftables.h"
#include "networks/records.h"

namespace gantry::networks {

// Set name → its elements.
using FirewallElements = std::map<std::string, std::set<kernel::NftElement>>;

// Adds what these need to *elements.
void AddNetworkElements(const Network& network, FirewallElements* elements);
// Published on loopback or IPv6 addresses alone: nothing, gantry-proxy does it all.
void AddPortElements(const Endpoint& endpoint, FirewallElements* elements);

class Firewall {
 public:
  // `stack` is the name of the default bridge: the table is "ip gantry-STACK".
  explicit Firewall(const std::string& stack) : table_("gantry-" + stack) {}

  // Makes what is missing of the table, its chains, rules and sets; each set named in `wanted` gets
  // exactly these elements. Says what it changed.
  Result<std::vector<std::string>> Repair(kernel::NetlinkSocket* socket,
                                          const FirewallElements& wanted) const;
  // One transaction each.
  Result<> Add(kernel::NetlinkSocket* socket, const FirewallElements& elements) const;
  // Elements that are gone already are no error.
  Result<> Remove(kernel::NetlinkSocket* socket, const FirewallElements& elements) const;
  // No table: no error.
  Result<> RemoveTable(kernel::NetlinkSocket* socket) const;

  const std::string& table() const { return table_; }

 private:
  std::string table_;
};

// All sets of the table, so that a caller who knows every element can say so: each empty.
FirewallElements EmptyNetworkSets();
FirewallElements EmptyPortSets();

}  // namespace gantry::networks
