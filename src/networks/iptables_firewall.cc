// SPDX-License-Identifier: Apache-2.0
//
// The same as nft_firewall.cc's rules in iptables' tables, for hosts whose rules are all there.
// With B the stack's bridge:
//
//   filter  FORWARD → GANTRY-B            what may pass, network by network
//                     GANTRYX-B           exposed ports, at containers' addresses
//                     GANTRYL-B           ports that links open between neighbours
//   nat     PREROUTING, OUTPUT (to local addresses) → GANTRY-B
//                     GANTRYD-B           published ports: DNAT
//           POSTROUTING → GANTRYP-B       masquerade
//
// A change of ports is one `iptables-restore`, for each port two lines.
#include <algorithm>
#include <array>
#include <set>

#include "networks/firewall.h"
#include "networks/firewall_view.h"
#include "networks/forward_gate.h"
#include "networks/iptables.h"

namespace gantry::networks {
namespace {

using Lines = std::vector<std::string>;

constexpr const char* kFilterTable = "filter";
constexpr const char* kNatTable = "nat";

std::string ProtocolMatch(const PortView& port, uint16_t number) {
  std::string_view name = ProtocolName(port.protocol);
  std::string match = fmt::format("-p {} -m {} --dport {}", name, name, number);
  return port.count == 1 ? match : fmt::format("{}:{}", match, number + (port.count - 1));
}

// One family's rules.
class IptablesRules {
 public:
  IptablesRules(const FirewallSetup& setup, const std::string& stack, bool ipv6)
      : setup_(setup),
        ipv6_(ipv6),
        forward_{"GANTRY-" + stack, {"FORWARD"}},
        exposed_{"GANTRYX-" + stack, {}},
        linked_{"GANTRYL-" + stack, {}},
        local_{"GANTRY-" + stack,
               {"PREROUTING -m addrtype --dst-type LOCAL", "OUTPUT -m addrtype --dst-type LOCAL"}},
        ports_{"GANTRYD-" + stack, {}},
        postrouting_{"GANTRYP-" + stack, {"POSTROUTING"}} {}

  // Without endpoints: ports are left as they are.
  Result<> Repair(const std::vector<Network>& networks, const std::vector<Endpoint>* endpoints,
                  Firewall::Changes* changes) const;
  Result<> Publish(const std::vector<Endpoint>& endpoints) const;
  Result<> Unpublish(const std::vector<Endpoint>& endpoints) const;
  Result<> Open(const std::vector<Opening>& openings) const;
  Result<> Close(const std::vector<Opening>& openings) const;
  Result<> Change(const Endpoint& before, const Endpoint& after) const;

 private:
  // What becomes of a packet that we let in: where the host decides it goes on through FORWARD.
  std::string_view LetIn() const { return setup_.host_decides ? "RETURN" : "ACCEPT"; }
  Lines ForwardRules(const IptablesTable& filter, const std::vector<Network>& networks) const;
  Lines LocalRules(const std::vector<Network>& networks) const;
  Lines PostroutingRules(const std::vector<Network>& networks) const;
  Lines PortRules(const std::vector<Endpoint>& endpoints) const;
  Lines ExposedRules(const std::vector<Endpoint>& endpoints) const;
  Lines LinkRules(const std::vector<Opening>& openings) const;

  FirewallSetup setup_;
  bool ipv6_;
  OwnChain forward_;
  OwnChain exposed_;
  OwnChain linked_;
  OwnChain local_;
  OwnChain ports_;
  OwnChain postrouting_;
};

Lines IptablesRules::ForwardRules(const IptablesTable& filter,
                                  const std::vector<Network>& networks) const {
  Lines rules;
  auto add = [&]<typename... T>(fmt::format_string<T...> format, T&&... values) {
    rules.push_back(
        fmt::format("-A {} {}", forward_.name, fmt::format(format, std::forward<T>(values)...)));
  };
  // Where the host decides, what comes back from that chain is for exposed ports.
  auto add_exposed = [&](const std::string& which) {
    add("{} -j {}", which, exposed_.name);
    if (setup_.host_decides) add("{} -j RETURN", which);
  };
  if (filter.contains("DOCKER-USER")) add("-j DOCKER-USER");
  for (const Network& network : networks) {
    add("-o {} {} -j ACCEPT", network.bridge, kAnswers);
    if (network.icc) {
      add("-i {} -o {} -j ACCEPT", network.bridge, network.bridge);
    } else {
      add("-i {} -o {} -j {}", network.bridge, network.bridge, linked_.name);
      add("-i {} -o {} -j DROP", network.bridge, network.bridge);
    }
  }
  for (const Network& network : networks) {
    if (!network.closed()) continue;
    add("-i {} -j DROP", network.bridge);
    add("-o {} -j DROP", network.bridge);
  }
  for (const Network& network : networks) {
    GatewayMode mode = ViewOf(network, ipv6_)->mode;
    add("-o {} -m conntrack --ctstate DNAT -j {}", network.bridge, LetIn());
    if (mode == GatewayMode::kNatUnprotected) add("-o {} -j {}", network.bridge, LetIn());
    bool routed = mode == GatewayMode::kRouted;
    if (routed) {
      add("-o {} -p {} -j {}", network.bridge, ipv6_ ? "ipv6-icmp" : "icmp", LetIn());
    }
    if (setup_.accepted_mark) {
      add("-o {} -m mark --mark {} -j {}", network.bridge, ToString(*setup_.accepted_mark),
          LetIn());
    }
    for (const std::string& trusted : network.trusted_interfaces) {
      add_exposed(fmt::format("-i {} -o {}", trusted, network.bridge));
    }
    if (routed || setup_.direct_routing) add_exposed(fmt::format("-o {}", network.bridge));
  }
  for (const Network& network : networks) add("-o {} -j DROP", network.bridge);
  for (const std::string& rule : RulesOut(networks)) add("{}", rule);
  return rules;
}

Lines IptablesRules::LocalRules(const std::vector<Network>& networks) const {
  Lines rules;
  auto add = [&](const std::string& rule) {
    rules.push_back(fmt::format("-A {} {}", local_.name, rule));
  };
  // gantry-proxy serves a container's neighbours, loopback and link-local addresses.
  for (const Network& network : networks) add(fmt::format("-i {} -j RETURN", network.bridge));
  if (ipv6_) {
    add("-s fe80::/10 -j RETURN");
    add("-d fe80::/10 -j RETURN");
    add("-d ::1/128 -j RETURN");
  } else {
    add("-d 127.0.0.0/8 -j RETURN");
  }
  add(fmt::format("-j {}", ports_.name));
  return rules;
}

Lines IptablesRules::PostroutingRules(const std::vector<Network>& networks) const {
  Lines rules;
  auto add = [&](const std::string& rule) {
    rules.push_back(fmt::format("-A {} {}", postrouting_.name, rule));
  };
  for (const Network& network : networks) add(fmt::format("-o {} -j RETURN", network.bridge));
  for (const Network& network : networks) {
    NetworkView view = *ViewOf(network, ipv6_);
    if (!view.masquerade) continue;
    add(view.source.empty()
            ? fmt::format("-s {} -j MASQUERADE", view.subnet)
            : fmt::format("-s {} -j SNAT --to-source {}", view.subnet, view.source));
  }
  return rules;
}

Lines IptablesRules::PortRules(const std::vector<Endpoint>& endpoints) const {
  std::set<std::string> rules;
  for (const Endpoint& endpoint : endpoints) {
    for (const PortView& port : PortsOf(endpoint, ipv6_)) {
      std::string at =
          port.host_ip.empty() ? "" : fmt::format("-d {}/{} ", port.host_ip, ipv6_ ? 128 : 32);
      std::string target = port.address;
      if (port.count == 1) {
        target =
            fmt::format("{}:{}", ipv6_ ? fmt::format("[{}]", target) : target, port.container_port);
      }
      rules.insert(fmt::format("-A {} {}{} -j DNAT --to-destination {}", ports_.name, at,
                               ProtocolMatch(port, port.host_port), target));
    }
  }
  return {rules.begin(), rules.end()};
}

Lines IptablesRules::ExposedRules(const std::vector<Endpoint>& endpoints) const {
  std::set<std::string> rules;
  for (const Endpoint& endpoint : endpoints) {
    for (const PortView& port : ExposedBy(endpoint, ipv6_)) {
      rules.insert(fmt::format("-A {} -d {}/{} {} -j {}", exposed_.name, port.address,
                               ipv6_ ? 128 : 32, ProtocolMatch(port, port.container_port),
                               LetIn()));
    }
  }
  return {rules.begin(), rules.end()};
}

Lines IptablesRules::LinkRules(const std::vector<Opening>& openings) const {
  int length = ipv6_ ? 128 : 32;
  std::set<std::string> rules;
  for (const Opening& opening : openings) {
    if (opening.ipv6 != ipv6_) continue;
    PortView port{.protocol = opening.port.protocol};
    rules.insert(fmt::format("-A {} -s {}/{} -d {}/{} {} -j ACCEPT", linked_.name, opening.from,
                             length, opening.to, length, ProtocolMatch(port, opening.port.port)));
  }
  return {rules.begin(), rules.end()};
}

// A chain of ports has them in any order, and a last rule by which it is there without any.
void RepairPorts(const IptablesTable& table, const OwnChain& chain, const Lines* rules,
                 Lines* lines, std::string_view others = "RETURN") {
  std::string last = fmt::format("-A {} -j {}", chain.name, others);
  auto there = table.find(chain.name);
  if (rules == nullptr && there != table.end()) return;
  Lines wanted = rules == nullptr ? Lines{} : *rules;
  wanted.push_back(last);
  Lines found = there == table.end() ? Lines{} : there->second.rules;
  bool ends = !found.empty() && found.back() == last;
  std::multiset<std::string> wanted_set(wanted.begin(), wanted.end());
  if (ends && wanted_set == std::multiset<std::string>(found.begin(), found.end())) return;
  lines->push_back(fmt::format(":{} - [0:0]", chain.name));
  lines->insert(lines->end(), wanted.begin(), wanted.end());
}

Result<> IptablesRules::Repair(const std::vector<Network>& networks,
                               const std::vector<Endpoint>* endpoints,
                               Firewall::Changes* changes) const {
  std::vector<Network> ours;
  for (const Network& network : networks) {
    if (ViewOf(network, ipv6_)) ours.push_back(network);
  }
  auto programs = Iptables::Default(ipv6_);
  // A host without IPv6 needs no ip6tables.
  bool missing = !programs.ok() && programs.error().kind() == ErrorKind::kNotFound;
  if (missing && ours.empty()) return {};
  Iptables iptables = TRY(std::move(programs));
  std::optional<Lines> ports;
  std::optional<Lines> exposed;
  std::optional<Lines> linked;
  if (endpoints != nullptr) {
    ports = PortRules(*endpoints);
    exposed = ExposedRules(*endpoints);
    linked = LinkRules(OpeningsOf(*endpoints, ipv6_));
  }
  Lines in_filter;
  IptablesTable filter = TRY(iptables.Save(kFilterTable));
  Lines in_nat;
  IptablesTable nat = TRY(iptables.Save(kNatTable));
  if (ours.empty()) {
    RemoveChain(filter, forward_, &in_filter);
    for (const OwnChain& chain : {exposed_, linked_}) RemoveChain(filter, chain, &in_filter);
    for (const OwnChain& chain : {local_, ports_, postrouting_}) RemoveChain(nat, chain, &in_nat);
  } else {
    RepairPorts(filter, exposed_, exposed ? &*exposed : nullptr, &in_filter,
                setup_.host_decides ? "DROP" : "RETURN");
    RepairPorts(filter, linked_, linked ? &*linked : nullptr, &in_filter);
    RepairChain(filter, forward_, ForwardRules(filter, ours), &in_filter);
    RepairPorts(nat, ports_, ports ? &*ports : nullptr, &in_nat);
    RepairChain(nat, local_, LocalRules(ours), &in_nat);
    RepairChain(nat, postrouting_, PostroutingRules(ours), &in_nat);
  }
  TRY(iptables.Change(kFilterTable, in_filter));
  TRY(iptables.Change(kNatTable, in_nat));
  if (!in_filter.empty() || !in_nat.empty()) {
    changes->push_back(fmt::format("rules of {} made right", iptables.name()));
  }
  return {};
}

// In front of the chain's last rule.
Lines Inserting(Lines rules) {
  for (std::string& rule : rules) rule.replace(0, 2, "-I");
  return rules;
}

Result<> IptablesRules::Publish(const std::vector<Endpoint>& endpoints) const {
  Lines exposed = ExposedRules(endpoints);
  if (exposed.empty()) return {};
  Iptables iptables = TRY(Iptables::Default(ipv6_));
  TRY(iptables.Change(kFilterTable, Inserting(std::move(exposed))));
  return iptables.Change(kNatTable, Inserting(PortRules(endpoints)));
}

// "-D" of a rule that is gone fails, and nothing of the transaction is done.
Result<> DeleteRules(const Iptables& iptables, const char* table, const OwnChain& chain,
                     const Lines& rules) {
  auto deleting = [](const Lines& lines) {
    Lines deletions;
    for (const std::string& line : lines) deletions.push_back("-D" + line.substr(2));
    return deletions;
  };
  auto deleted = iptables.Change(table, deleting(rules));
  if (deleted.ok()) return {};
  IptablesTable there = TRY(iptables.Save(table));
  auto found = there.find(chain.name);
  if (found == there.end()) return {};
  Lines left;
  for (const std::string& rule : rules) {
    const Lines& in_chain = found->second.rules;
    if (std::find(in_chain.begin(), in_chain.end(), rule) != in_chain.end()) left.push_back(rule);
  }
  return iptables.Change(table, deleting(left));
}

Result<> IptablesRules::Unpublish(const std::vector<Endpoint>& endpoints) const {
  Lines exposed = ExposedRules(endpoints);
  if (exposed.empty()) return {};
  Iptables iptables = TRY(Iptables::Default(ipv6_));
  auto from_nat = DeleteRules(iptables, kNatTable, ports_, PortRules(endpoints));
  auto from_filter = DeleteRules(iptables, kFilterTable, exposed_, exposed);
  return from_nat.ok() ? std::move(from_filter) : std::move(from_nat);
}

Result<> IptablesRules::Open(const std::vector<Opening>& openings) const {
  Lines rules = LinkRules(openings);
  if (rules.empty()) return {};
  return TRY(Iptables::Default(ipv6_)).Change(kFilterTable, Inserting(std::move(rules)));
}

Result<> IptablesRules::Close(const std::vector<Opening>& openings) const {
  Lines rules = LinkRules(openings);
  if (rules.empty()) return {};
  return DeleteRules(TRY(Iptables::Default(ipv6_)), kFilterTable, linked_, rules);
}

Result<> IptablesRules::Change(const Endpoint& before, const Endpoint& after) const {
  // Both are sorted.
  auto difference = [](const Lines& all, const Lines& without) {
    Lines rest;
    std::set_difference(all.begin(), all.end(), without.begin(), without.end(),
                        std::back_inserter(rest));
    return rest;
  };
  auto change = [&](const Iptables& iptables, const char* table, const OwnChain& chain,
                    const Lines& old, const Lines& now) -> Result<> {
    TRY(DeleteRules(iptables, table, chain, difference(old, now)));
    return iptables.Change(table, Inserting(difference(now, old)));
  };
  if (ExposedBy(before, ipv6_).empty() && ExposedBy(after, ipv6_).empty()) return {};
  Iptables iptables = TRY(Iptables::Default(ipv6_));
  TRY(change(iptables, kFilterTable, exposed_, ExposedRules({before}), ExposedRules({after})));
  return change(iptables, kNatTable, ports_, PortRules({before}), PortRules({after}));
}

class IptablesFirewall : public Firewall {
 public:
  IptablesFirewall(const FirewallSetup& setup, const std::string& stack)
      : families_{IptablesRules(setup, stack, /*ipv6=*/false),
                  IptablesRules(setup, stack, /*ipv6=*/true)} {}

  Result<Changes> RepairNetworks(const std::vector<Network>& networks) override {
    Changes changes;
    for (const IptablesRules& rules : families_) TRY(rules.Repair(networks, nullptr, &changes));
    return changes;
  }
  Result<Changes> Repair(const std::vector<Network>& networks,
                         const std::vector<Endpoint>& endpoints) override {
    Changes changes;
    for (const IptablesRules& rules : families_) TRY(rules.Repair(networks, &endpoints, &changes));
    return changes;
  }
  Result<> RemoveNetwork(const Network&, const std::vector<Network>& rest) override {
    TRY(RepairNetworks(rest));
    return {};
  }
  Result<> Publish(const std::vector<Endpoint>& endpoints) override {
    for (const IptablesRules& rules : families_) TRY(rules.Publish(endpoints));
    return {};
  }
  // Goes on with the second family after a failure.
  Result<> Unpublish(const std::vector<Endpoint>& endpoints) override {
    auto ipv4 = families_[0].Unpublish(endpoints);
    auto ipv6 = families_[1].Unpublish(endpoints);
    return ipv4.ok() ? std::move(ipv6) : std::move(ipv4);
  }
  Result<> Open(const std::vector<Opening>& openings) override {
    for (const IptablesRules& rules : families_) TRY(rules.Open(openings));
    return {};
  }
  Result<> Close(const std::vector<Opening>& openings) override {
    for (const IptablesRules& rules : families_) TRY(rules.Close(openings));
    return {};
  }
  Result<> Change(const Endpoint& before, const Endpoint& after) override {
    for (const IptablesRules& rules : families_) TRY(rules.Change(before, after));
    return {};
  }
  Result<> RemoveEverything() override {
    TRY(Repair({}, {}));
    return {};
  }
  bool has_rules() const override { return true; }

 private:
  const std::array<IptablesRules, 2> families_;
};

}  // namespace

std::unique_ptr<Firewall> MakeIptablesFirewall(const FirewallSetup& setup,
                                               const std::string& stack) {
  return std::make_unique<IptablesFirewall>(setup, stack);
}

}  // namespace gantry::networks
