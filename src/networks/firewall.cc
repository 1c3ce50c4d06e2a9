// SPDX-License-Identifier: Apache-2.0
#include "networks/firewall.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>

namespace gantry::networks {
namespace {

using kernel::NftConcat;
using kernel::NftElement;
using kernel::NftFamily;
using kernel::NftRule;
using kernel::NftType;

constexpr NftFamily kFamily = NftFamily::kIpv4;

// Sets and maps.
constexpr const char* kBridges = "bridges";        // our bridges
constexpr const char* kInternal = "internal";      // those without a way out
constexpr const char* kIcc = "icc";                // bridge . bridge: containers reach each other
constexpr const char* kMasquerade = "masquerade";  // subnets
constexpr const char* kPorts = "ports";            // proto . port → container
constexpr const char* kPortsAt = "ports-at";       // address . proto . port → container

// include/uapi/linux/netfilter/nf_conntrack_common.h; the state's bits are 1 << (ctinfo + 1).
constexpr uint32_t kEstablishedOrRelated = 2 | 4;
constexpr uint32_t kDestinationNat = 1 << 5;

constexpr int32_t kPriorityDestinationNat = -100;
constexpr int32_t kPrioritySourceNat = 100;
constexpr int32_t kPriorityFilter = 0;

// Registers: an interface's name takes four of them.
constexpr int kFirst = 0;
constexpr int kSecondInterface = 4;

std::vector<kernel::NftSet> Sets() {
  uint32_t interface = NftConcat({NftType::kInterface});
  uint32_t target = NftConcat({NftType::kIpv4Address, NftType::kInetService});
  return {
      {kBridges, interface, 16},
      {kInternal, interface, 16},
      {kIcc, NftConcat({NftType::kInterface, NftType::kInterface}), 32},
      {kMasquerade, NftConcat({NftType::kIpv4Address}), 4, true},
      {kPorts, NftConcat({NftType::kInetProto, NftType::kInetService}), 8, false, target, 8},
      {kPortsAt, NftConcat({NftType::kIpv4Address, NftType::kInetProto, NftType::kInetService}), 12,
       false, target, 8},
  };
}

struct Rule {
  NftRule expressions;
  // Says in `nft list ruleset` why the rule is there, and tells at start-up that it is.
  const char* comment;
};
struct Chain {
  kernel::NftBaseChain base;
  std::vector<Rule> rules;
};

void AddPortRules(std::vector<Rule>* rules) {
  rules->push_back({NftRule().LoadDestinationKind(kFirst).NotEqual(kFirst, RTN_LOCAL).Return(),
                    "only this host's addresses"});
  rules->push_back({NftRule()
                        .LoadDestination(kFirst)
                        .LoadProtocol(kFirst + 1)
                        .LoadDestinationPort(kFirst + 2)
                        .LookUp(kFirst, kPortsAt, kFirst)
                        .DestinationNat(kFirst, kFirst + 1),
                    "published on one address"});
  rules->push_back({NftRule()
                        .LoadProtocol(kFirst)
                        .LoadDestinationPort(kFirst + 1)
                        .LookUp(kFirst, kPorts, kFirst)
                        .DestinationNat(kFirst, kFirst + 1),
                    "published on all addresses"});
}

std::vector<Rule> ForwardRules() {
  return {
      {NftRule()
           .LoadOutputInterface(kFirst)
           .InSet(kFirst, kBridges)
           .LoadConntrackState(kFirst)
           .Mask(kFirst, kEstablishedOrRelated)
           .NotEqual(kFirst, 0)
           .Accept(),
       "answers"},
      {NftRule()
           .LoadInputInterface(kFirst)
           .LoadOutputInterface(kSecondInterface)
           .InSet(kFirst, kIcc)
           .Accept(),
       "neighbours"},
      {NftRule()
           .LoadOutputInterface(kFirst)
           .InSet(kFirst, kBridges)
           .LoadConntrackStatus(kFirst)
           .Mask(kFirst, kDestinationNat)
           .NotEqual(kFirst, 0)
           .Accept(),
       "published ports"},
      {NftRule().LoadOutputInterface(kFirst).InSet(kFirst, kBridges).Drop(),
       "nothing else gets in"},
      {NftRule().LoadInputInterface(kFirst).InSet(kFirst, kInternal).Drop(),
       "internal networks have no way out"},
  };
}

std::vector<Chain> Chains() {
  Chain prerouting{{"prerouting", "nat", NF_INET_PRE_ROUTING, kPriorityDestinationNat}, {}};
  prerouting.rules.push_back({NftRule().LoadInputInterface(kFirst).InSet(kFirst, kBridges).Return(),
                              "neighbours of a container use the proxy"});
  AddPortRules(&prerouting.rules);

  Chain output{{"output", "nat", NF_INET_LOCAL_OUT, kPriorityDestinationNat}, {}};
  output.rules.push_back({NftRule()
                              .LoadDestination(kFirst)
                              .MaskNetwork(kFirst, 0xff000000)
                              .EqualNetwork(kFirst, INADDR_LOOPBACK & 0xff000000)
                              .Return(),
                          "loopback uses the proxy"});
  AddPortRules(&output.rules);

  Chain forward{{"forward", "filter", NF_INET_FORWARD, kPriorityFilter}, ForwardRules()};

  Chain postrouting{{"postrouting", "nat", NF_INET_POST_ROUTING, kPrioritySourceNat}, {}};
  postrouting.rules.push_back({NftRule()
                                   .LoadSource(kFirst)
                                   .InSet(kFirst, kMasquerade)
                                   .LoadOutputInterface(kFirst)
                                   .NotInSet(kFirst, kBridges)
                                   .Masquerade(),
                               "the world sees the host's address"});
  return {prerouting, output, forward, postrouting};
}

std::string Bytes(formats::Ipv4Address address) {
  uint32_t network = htonl(address.value);
  return {reinterpret_cast<const char*>(&network), sizeof network};
}

std::string Bytes(uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 255)};
}

std::string Bytes(Protocol protocol) {
  return {static_cast<char>(protocol == Protocol::kUdp ? IPPROTO_UDP : IPPROTO_TCP)};
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The chain's rules are exactly ours, in our order.
bool HasRules(const Chain& chain, const std::vector<kernel::NftListedRule>& listed) {
  size_t next = 0;
  for (const kernel::NftListedRule& rule : listed) {
    if (rule.chain != chain.base.name) continue;
    if (next == chain.rules.size() || rule.comment != chain.rules[next].comment) return false;
    ++next;
  }
  return next == chain.rules.size();
}

struct Existing {
  std::vector<std::string> chains;
  std::vector<std::string> sets;
  std::vector<kernel::NftListedRule> rules;
};

void RepairChain(const Chain& chain, const Existing& existing, kernel::NftBatch* batch,
                 std::vector<std::string>* changes) {
  if (HasRules(chain, existing.rules) && Contains(existing.chains, chain.base.name)) return;
  if (!Contains(existing.chains, chain.base.name)) batch->AddChain(chain.base);
  for (const kernel::NftListedRule& rule : existing.rules) {
    if (rule.chain == chain.base.name) batch->DeleteRule(rule.chain, rule.handle);
  }
  for (const Rule& rule : chain.rules) {
    batch->AddRule(chain.base.name, rule.expressions, rule.comment);
  }
  changes->push_back(fmt::format("nft chain '{}' made right", chain.base.name));
}

Result<> RepairElements(kernel::NetlinkSocket* socket, const std::string& table,
                        const std::string& set, const std::set<NftElement>& wanted, bool exists,
                        kernel::NftBatch* batch, std::vector<std::string>* changes) {
  std::set<NftElement> found;
  if (exists) {
    for (NftElement& element : TRY(kernel::ListNftElements(socket, kFamily, table, set))) {
      found.insert(std::move(element));
    }
  }
  std::vector<NftElement> extra;
  std::vector<NftElement> missing;
  std::set_difference(found.begin(), found.end(), wanted.begin(), wanted.end(),
                      std::back_inserter(extra));
  std::set_difference(wanted.begin(), wanted.end(), found.begin(), found.end(),
                      std::back_inserter(missing));
  // Removed first: a map's key may have got other data.
  batch->DeleteElements(set, extra);
  batch->AddElements(set, missing);
  if (!extra.empty() || !missing.empty()) {
    changes->push_back(fmt::format("nft set '{}': {} elements added, {} removed", set,
                                   missing.size(), extra.size()));
  }
  return {};
}

}  // namespace

FirewallElements EmptyNetworkSets() {
  return {{kBridges, {}}, {kInternal, {}}, {kIcc, {}}, {kMasquerade, {}}};
}

FirewallElements EmptyPortSets() { return {{kPorts, {}}, {kPortsAt, {}}}; }

void AddNetworkElements(const Network& network, FirewallElements* elements) {
  std::string interface = kernel::NftInterfaceKey(network.bridge);
  (*elements)[kBridges].insert({interface, ""});
  if (network.icc) (*elements)[kIcc].insert({interface + interface, ""});
  if (network.internal) (*elements)[kInternal].insert({interface, ""});
  if (network.masquerade && !network.internal) {
    (*elements)[kMasquerade].insert({Bytes(network.subnet.network), ""});
    formats::Ipv4Address end{network.subnet.Last().value + 1};
    if (end.value != 0) (*elements)[kMasquerade].insert({Bytes(end), "", true});
  }
}

void AddPortElements(const Endpoint& endpoint, FirewallElements* elements) {
  for (const PublishedPort& port : endpoint.ports) {
    auto address = formats::Ipv4Address::Parse(port.host_ip);
    if (!address.ok() || address->IsLoopback()) continue;
    std::string protocol = Bytes(port.protocol);
    std::string target = kernel::NftKey({Bytes(endpoint.address), Bytes(port.container_port)});
    std::string host_port = Bytes(port.host_port);
    if (address->IsUnspecified()) {
      (*elements)[kPorts].insert({kernel::NftKey({protocol, host_port}), target});
    } else {
      (*elements)[kPortsAt].insert(
          {kernel::NftKey({Bytes(*address), protocol, host_port}), target});
    }
  }
}

Result<std::vector<std::string>> Firewall::Repair(kernel::NetlinkSocket* socket,
                                                  const FirewallElements& wanted) const {
  std::vector<std::string> changes;
  kernel::NftBatch batch(kFamily, table_);
  Existing existing;
  if (TRY(kernel::NftTableExists(socket, kFamily, table_))) {
    existing.chains = TRY(kernel::ListNftChains(socket, kFamily, table_));
    existing.sets = TRY(kernel::ListNftSets(socket, kFamily, table_));
    existing.rules = TRY(kernel::ListNftRules(socket, kFamily, table_));
  } else {
    batch.AddTable();
    changes.push_back(fmt::format("nft table '{}' made", table_));
  }
  for (const kernel::NftSet& set : Sets()) {
    bool exists = Contains(existing.sets, set.name);
    if (!exists) batch.AddSet(set);
    auto elements = wanted.find(set.name);
    if (elements == wanted.end()) continue;
    TRY(RepairElements(socket, table_, set.name, elements->second, exists, &batch, &changes));
  }
  for (const Chain& chain : Chains()) RepairChain(chain, existing, &batch, &changes);
  TRY(batch.Commit(socket));
  return changes;
}

Result<> Firewall::Add(kernel::NetlinkSocket* socket, const FirewallElements& elements) const {
  kernel::NftBatch batch(kFamily, table_);
  for (const auto& [set, items] : elements) batch.AddElements(set, {items.begin(), items.end()});
  return batch.Commit(socket);
}

Result<> Firewall::Remove(kernel::NetlinkSocket* socket, const FirewallElements& elements) const {
  kernel::NftBatch batch(kFamily, table_);
  for (const auto& [set, items] : elements) {
    batch.DeleteElements(set, {items.begin(), items.end()});
  }
  auto removed = batch.Commit(socket);
  if (removed.ok() || removed.error().kind() != ErrorKind::kNotFound) return removed;
  // Somebody removed a part, or the table: what is left of ours is found by looking.
  if (!TRY(kernel::NftTableExists(socket, kFamily, table_))) return {};
  kernel::NftBatch rest(kFamily, table_);
  for (const auto& [set, items] : elements) {
    std::vector<NftElement> left;
    for (NftElement& found : TRY(kernel::ListNftElements(socket, kFamily, table_, set))) {
      if (items.contains(found)) left.push_back(std::move(found));
    }
    rest.DeleteElements(set, left);
  }
  return rest.Commit(socket);
}

Result<> Firewall::RemoveTable(kernel::NetlinkSocket* socket) const {
  if (!TRY(kernel::NftTableExists(socket, kFamily, table_))) return {};
  kernel::NftBatch batch(kFamily, table_);
  batch.DeleteTable();
  return batch.Commit(socket);
}

}  // namespace gantry::networks
