// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <set>

#include "kernel/nftables.h"
#include "networks/firewall.h"
#include "networks/forward_gate.h"
#include "networks/nft_rules.h"

namespace gantry::networks {
namespace {

using kernel::NftBatch;
using kernel::NftElement;
using kernel::NftFamily;

// Set name → its elements.
using Elements = std::map<std::string, std::set<NftElement>>;

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

// All sets of networks, or of endpoints, so that a caller who knows every element can say so: each
// empty.
Elements EmptyNetworkSets() {
  return {{kSetBridges, {}},     {kSetInternal, {}}, {kSetIcc, {}},        {kSetUnprotected, {}},
          {kSetRouted, {}},      {kSetTrusted, {}},  {kSetMasquerade, {}}, {kSetSource, {}}};
}
Elements EmptyPortSets() { return {{kSetPorts, {}}, {kSetPortsAt, {}}, {kSetExposed, {}}}; }

void AddNetworkElements(const Network& network, Elements* elements) {
  std::string interface = kernel::NftInterfaceKey(network.bridge);
  (*elements)[kSetBridges].insert({interface, ""});
  if (network.icc) (*elements)[kSetIcc].insert({interface + interface, ""});
  if (network.internal) (*elements)[kSetInternal].insert({interface, ""});
  if (network.masquerade && !network.internal) {
    (*elements)[kSetMasquerade].insert({Bytes(network.subnet.network), ""});
    formats::Ipv4Address end{network.subnet.Last().value + 1};
    if (end.value != 0) (*elements)[kSetMasquerade].insert({Bytes(end), "", true});
  }
}

// Published on loopback or IPv6 addresses alone: nothing, gantry-proxy does it all.
void AddPortElements(const Endpoint& endpoint, Elements* elements) {
  for (const PublishedPort& port : endpoint.ports) {
    auto address = formats::Ipv4Address::Parse(port.host_ip);
    if (!address.ok() || address->IsLoopback()) continue;
    std::string protocol = Bytes(port.protocol);
    std::string target = kernel::NftKey({Bytes(endpoint.address), Bytes(port.container_port)});
    std::string host_port = Bytes(port.host_port);
    if (address->IsUnspecified()) {
      (*elements)[kSetPorts].insert({kernel::NftKey({protocol, host_port}), target});
    } else {
      (*elements)[kSetPortsAt].insert(
          {kernel::NftKey({Bytes(*address), protocol, host_port}), target});
    }
  }
}

// One family's table.
class NftTable {
 public:
  NftTable(NftFamily family, std::string name) : family_(family), name_(std::move(name)) {}

  // Each set named in `wanted` gets exactly these elements.
  Result<> Repair(kernel::NetlinkSocket* socket, const Elements& wanted,
                  Firewall::Changes* changes) const;
  // One transaction.
  Result<> Add(kernel::NetlinkSocket* socket, const Elements& elements) const;
  Result<> Remove(kernel::NetlinkSocket* socket, const Elements& elements) const;
  Result<> RemoveTable(kernel::NetlinkSocket* socket) const;

 private:
  struct Existing {
    std::vector<std::string> chains;
    std::vector<std::string> sets;
    std::vector<kernel::NftListedRule> rules;
  };
  static bool HasRules(const NftFixedChain& chain,
                       const std::vector<kernel::NftListedRule>& listed);
  static void RepairChain(const NftFixedChain& chain, const Existing& existing, NftBatch* batch,
                          Firewall::Changes* changes);
  Result<> RepairElements(kernel::NetlinkSocket* socket, const std::string& set,
                          const std::set<NftElement>& wanted, bool exists, NftBatch* batch,
                          Firewall::Changes* changes) const;

  NftFamily family_;
  std::string name_;
};

// The chain's rules are exactly ours, in our order.
bool NftTable::HasRules(const NftFixedChain& chain,
                        const std::vector<kernel::NftListedRule>& listed) {
  size_t next = 0;
  for (const kernel::NftListedRule& rule : listed) {
    if (rule.chain != chain.base.name) continue;
    if (next == chain.rules.size() || rule.comment != chain.rules[next].comment) return false;
    ++next;
  }
  return next == chain.rules.size();
}

void NftTable::RepairChain(const NftFixedChain& chain, const Existing& existing, NftBatch* batch,
                           Firewall::Changes* changes) {
  if (HasRules(chain, existing.rules) && Contains(existing.chains, chain.base.name)) return;
  if (!Contains(existing.chains, chain.base.name)) batch->AddChain(chain.base);
  for (const kernel::NftListedRule& rule : existing.rules) {
    if (rule.chain == chain.base.name) batch->DeleteRule(rule.chain, rule.handle);
  }
  for (const NftFixedRule& rule : chain.rules) {
    batch->AddRule(chain.base.name, rule.expressions, rule.comment);
  }
  changes->push_back(fmt::format("nft chain '{}' made right", chain.base.name));
}

Result<> NftTable::RepairElements(kernel::NetlinkSocket* socket, const std::string& set,
                                  const std::set<NftElement>& wanted, bool exists, NftBatch* batch,
                                  Firewall::Changes* changes) const {
  std::set<NftElement> found;
  if (exists) {
    for (NftElement& element : TRY(kernel::ListNftElements(socket, family_, name_, set))) {
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

Result<> NftTable::Repair(kernel::NetlinkSocket* socket, const Elements& wanted,
                          Firewall::Changes* changes) const {
  NftBatch batch(family_, name_);
  Existing existing;
  if (TRY(kernel::NftTableExists(socket, family_, name_))) {
    existing.chains = TRY(kernel::ListNftChains(socket, family_, name_));
    existing.sets = TRY(kernel::ListNftSets(socket, family_, name_));
    existing.rules = TRY(kernel::ListNftRules(socket, family_, name_));
  } else {
    batch.AddTable();
    changes->push_back(fmt::format("nft table '{}' made", name_));
  }
  for (const kernel::NftSet& set : NftSets(family_)) {
    bool exists = Contains(existing.sets, set.name);
    if (!exists) batch.AddSet(set);
    auto elements = wanted.find(set.name);
    if (elements == wanted.end()) continue;
    TRY(RepairElements(socket, set.name, elements->second, exists, &batch, changes));
  }
  for (const NftFixedChain& chain : NftChains(family_)) {
    RepairChain(chain, existing, &batch, changes);
  }
  return batch.Commit(socket);
}

Result<> NftTable::Add(kernel::NetlinkSocket* socket, const Elements& elements) const {
  NftBatch batch(family_, name_);
  for (const auto& [set, items] : elements) batch.AddElements(set, {items.begin(), items.end()});
  return batch.Commit(socket);
}

Result<> NftTable::Remove(kernel::NetlinkSocket* socket, const Elements& elements) const {
  NftBatch batch(family_, name_);
  for (const auto& [set, items] : elements) {
    batch.DeleteElements(set, {items.begin(), items.end()});
  }
  auto removed = batch.Commit(socket);
  if (removed.ok() || removed.error().kind() != ErrorKind::kNotFound) return removed;
  // Somebody removed a part, or the table: what is left of ours is found by looking.
  if (!TRY(kernel::NftTableExists(socket, family_, name_))) return {};
  NftBatch rest(family_, name_);
  for (const auto& [set, items] : elements) {
    std::vector<NftElement> left;
    for (NftElement& found : TRY(kernel::ListNftElements(socket, family_, name_, set))) {
      if (items.contains(found)) left.push_back(std::move(found));
    }
    rest.DeleteElements(set, left);
  }
  return rest.Commit(socket);
}

Result<> NftTable::RemoveTable(kernel::NetlinkSocket* socket) const {
  if (!TRY(kernel::NftTableExists(socket, family_, name_))) return {};
  NftBatch batch(family_, name_);
  batch.DeleteTable();
  return batch.Commit(socket);
}

class NftFirewall : public Firewall {
 public:
  NftFirewall(const std::string& stack, KernelSockets* sockets)
      : ipv4_(NftFamily::kIpv4, "gantry-" + stack), gate_(stack), sockets_(*sockets) {}

  Result<Changes> RepairNetworks(const std::vector<Network>& networks) override {
    return RepairTables(networks, EmptyNetworkSets());
  }

  Result<Changes> Repair(const std::vector<Network>& networks,
                         const std::vector<Endpoint>& endpoints) override {
    Elements elements = EmptyNetworkSets();
    elements.merge(EmptyPortSets());
    for (const Endpoint& endpoint : endpoints) AddPortElements(endpoint, &elements);
    return RepairTables(networks, std::move(elements));
  }

  Result<> RemoveNetwork(const Network& network, const std::vector<Network>& rest) override {
    Elements elements;
    AddNetworkElements(network, &elements);
    {
      auto socket = TRY(sockets_.Take());
      TRY(ipv4_.Remove(socket.get(), elements));
    }
    TRY(gate_.Repair(rest));
    return {};
  }

  Result<> Publish(const std::vector<Endpoint>& endpoints) override {
    Elements elements;
    for (const Endpoint& endpoint : endpoints) AddPortElements(endpoint, &elements);
    if (elements.empty()) return {};
    auto socket = TRY(sockets_.Take());
    return ipv4_.Add(socket.get(), elements);
  }

  Result<> Unpublish(const std::vector<Endpoint>& endpoints) override {
    Elements elements;
    for (const Endpoint& endpoint : endpoints) AddPortElements(endpoint, &elements);
    if (elements.empty()) return {};
    auto socket = TRY(sockets_.Take());
    return ipv4_.Remove(socket.get(), elements);
  }

  Result<> RemoveEverything() override {
    {
      auto socket = TRY(sockets_.Take());
      TRY(ipv4_.RemoveTable(socket.get()));
    }
    TRY(gate_.Repair({}));
    return {};
  }

  bool forwards() const override { return true; }

 private:
  Result<Changes> RepairTables(const std::vector<Network>& networks, Elements elements) {
    for (const Network& network : networks) AddNetworkElements(network, &elements);
    Changes changes;
    {
      auto socket = TRY(sockets_.Take());
      TRY_WITH(ipv4_.Repair(socket.get(), elements, &changes), "setting up the nft table");
    }
    for (std::string& change : TRY(gate_.Repair(networks))) changes.push_back(std::move(change));
    return changes;
  }

  const NftTable ipv4_;
  const ForwardGate gate_;
  KernelSockets& sockets_;
};

}  // namespace

std::unique_ptr<Firewall> MakeNftFirewall(const std::string& stack, KernelSockets* netfilter) {
  return std::make_unique<NftFirewall>(stack, netfilter);
}

}  // namespace gantry::networks
