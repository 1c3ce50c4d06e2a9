// SPDX-License-Identifier: Apache-2.0
//
// iptables' tables, read and changed by its own programs: `iptables-save` prints a table, one
// `iptables-restore --noflush` changes it as a whole. Two kernels' worth of tables live side by
// side on a host, legacy (x_tables) and nft, each with programs of its own; a packet has to pass
// both.
//
// A rule is its line as `iptables-save` prints it ("-A FORWARD -i br0 -j ACCEPT"); the lines we
// write are in that form, so that what is there is told by comparing text. Any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::networks {

struct IptablesChain {
  std::string policy;              // "ACCEPT", "DROP"; "-" for chains of users
  std::vector<std::string> rules;  // "-A CHAIN …"
};
using IptablesTable = std::map<std::string, IptablesChain>;  // by the chain's name

// What `iptables-save -t TABLE` prints.
Result<IptablesTable> ParseIptablesSave(std::string_view text);

enum class IptablesVariant : uint8_t { kLegacy, kNft };

class Iptables {
 public:
  // The programs of one variant, for IPv4 or IPv6. kNotFound without them.
  static Result<Iptables> Find(IptablesVariant variant, bool ipv6);
  // The host's choice: `iptables`.
  static Result<Iptables> Default(bool ipv6);

  // Of a table that is not there yet: no chains, or only the built-in ones, with policy ACCEPT.
  Result<IptablesTable> Save(std::string_view table) const;
  // `lines` between "*TABLE" and "COMMIT": all of them or none.
  Result<> Change(std::string_view table, const std::vector<std::string>& lines) const;

  const std::string& name() const { return name_; }

 private:
  std::string name_;  // "iptables-legacy"
  std::string save_;
  std::string restore_;
};

// A chain of ours, and from where it is jumped to: "FORWARD", "OUTPUT -m addrtype --dst-type
// LOCAL".
struct OwnChain {
  std::string name;
  std::vector<std::string> jumps;  // empty: other chains of ours name it
};

// The chain is to have exactly these rules ("-A NAME …"), and to be jumped to ahead of what is
// there. Appends the lines for Iptables::Change; nothing when all is so. Without rules: the same as
// RemoveChain.
void RepairChain(const IptablesTable& table, const OwnChain& chain,
                 const std::vector<std::string>& rules, std::vector<std::string>* lines);
// It and the jump are to be gone. Whoever else names the chain goes before.
void RemoveChain(const IptablesTable& table, const OwnChain& chain,
                 std::vector<std::string>* lines);

}  // namespace gantry::networks
