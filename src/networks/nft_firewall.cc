// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "kernel/nftables.h"
#include "networks/firewall.h"
#include "networks/firewall_view.h"
#include "networks/forward_gate.h"
#include "networks/nft_rules.h"

namespace gantry::networks {
namespace {

using kernel::NftBatch;
using kernel::NftElement;
using kernel::NftFamily;

// Set name → its elements.
using Elements = std::map<std::string, std::set<NftElement>>;

bool IsIpv6(NftFamily family) { return family == NftFamily::kIpv6; }

// Of an address that was printed from one.
std::string AddressBytes(const std::string& text, NftFamily family) {
  std::array<char, 16> bytes{};
  CHECK(::inet_pton(IsIpv6(family) ? AF_INET6 : AF_INET, text.c_str(), bytes.data()) == 1);
  return {bytes.data(), IsIpv6(family) ? size_t{16} : size_t{4}};
}

// The subnet's first address, and the first one after it: "" where there is none.
struct Interval {
  std::string first;
  std::string end;
};
Interval IntervalOf(const std::string& subnet, NftFamily family) {
  size_t slash = subnet.find('/');
  Interval interval;
  interval.first = interval.end = AddressBytes(subnet.substr(0, slash), family);
  size_t bits = std::stoul(subnet.substr(slash + 1));
  // One more in the prefix's last bit.
  for (size_t bit = bits; bit > 0; --bit) {
    auto mask = static_cast<uint8_t>(0x80 >> ((bit - 1) % 8));
    auto byte = static_cast<uint8_t>(interval.end[(bit - 1) / 8]);
    interval.end[(bit - 1) / 8] = static_cast<char>(byte ^ mask);
    if ((byte & mask) == 0) return interval;
  }
  interval.end.clear();
  return interval;
}

std::string Bytes(uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 255)};
}

std::string Bytes(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return {static_cast<char>(IPPROTO_TCP)};
    case Protocol::kUdp:
      return {static_cast<char>(IPPROTO_UDP)};
    case Protocol::kSctp:
      return {static_cast<char>(IPPROTO_SCTP)};
  }
  CHECK(false);
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// All sets of networks, or of endpoints, so that a caller who knows every element can say so: each
// empty.
Elements EmptyNetworkSets() {
  return {{kSetBridges, {}},     {kSetInternal, {}}, {kSetIcc, {}},    {kSetApart, {}},
          {kSetUnprotected, {}}, {kSetRouted, {}},   {kSetDirect, {}}, {kSetTrusted, {}},
          {kSetMasquerade, {}},  {kSetSource, {}}};
}
Elements EmptyPortSets() {
  return {{kSetPorts, {}},      {kSetPortsAt, {}},      {kSetExposed, {}},      {kSetLinked, {}},
          {kSetPortRanges, {}}, {kSetPortRangesAt, {}}, {kSetExposedRanges, {}}};
}

void AddNetworkElements(const Network& network, NftFamily family, const FirewallSetup& setup,
                        Elements* elements) {
  std::optional<NetworkView> view = ViewOf(network, IsIpv6(family));
  if (!view) return;
  std::string interface = kernel::NftInterfaceKey(network.bridge);
  (*elements)[kSetBridges].insert({interface, ""});
  (*elements)[network.icc ? kSetIcc : kSetApart].insert({interface + interface, ""});
  if (network.closed()) (*elements)[kSetInternal].insert({interface, ""});
  if (view->mode == GatewayMode::kNatUnprotected) {
    (*elements)[kSetUnprotected].insert({interface, ""});
  }
  bool routed = view->mode == GatewayMode::kRouted;
  if (routed) (*elements)[kSetRouted].insert({interface, ""});
  if (routed || setup.direct_routing) (*elements)[kSetDirect].insert({interface, ""});
  for (const std::string& trusted : network.trusted_interfaces) {
    (*elements)[kSetTrusted].insert({kernel::NftInterfaceKey(trusted) + interface, ""});
  }
  if (!view->masquerade) return;
  Interval interval = IntervalOf(view->subnet, family);
  auto& set = (*elements)[view->source.empty() ? kSetMasquerade : kSetSource];
  set.insert(
      {interval.first, view->source.empty() ? std::string() : AddressBytes(view->source, family)});
  if (!interval.end.empty()) set.insert({interval.end, "", true});
}

// A place and, of ranges, its last one: the key's end.
NftElement At(const std::vector<std::string>& before, const PortView& port, uint16_t number,
              std::string data) {
  auto key = [&](uint16_t last) {
    std::string out;
    for (const std::string& field : before) out += kernel::NftKey({field});
    return out + kernel::NftKey({Bytes(port.protocol), Bytes(last)});
  };
  NftElement element{key(number), std::move(data)};
  if (port.count > 1) element.last = key(static_cast<uint16_t>(number + (port.count - 1)));
  return element;
}

void AddPortElements(const Endpoint& endpoint, NftFamily family, Elements* elements) {
  for (const PortView& port : ExposedBy(endpoint, IsIpv6(family))) {
    const char* set = port.count > 1 ? kSetExposedRanges : kSetExposed;
    (*elements)[set].insert(
        At({AddressBytes(port.address, family)}, port, port.container_port, ""));
  }
  for (const PortView& port : PortsOf(endpoint, IsIpv6(family))) {
    std::string address = AddressBytes(port.address, family);
    bool range = port.count > 1;
    std::string target = range ? address : kernel::NftKey({address, Bytes(port.container_port)});
    if (port.host_ip.empty()) {
      (*elements)[range ? kSetPortRanges : kSetPorts].insert(At({}, port, port.host_port, target));
    } else {
      (*elements)[range ? kSetPortRangesAt : kSetPortsAt].insert(
          At({AddressBytes(port.host_ip, family)}, port, port.host_port, target));
    }
  }
}

void AddLinkElements(const std::vector<Opening>& openings, NftFamily family, Elements* elements) {
  for (const Opening& opening : openings) {
    if (opening.ipv6 != IsIpv6(family)) continue;
    (*elements)[kSetLinked].insert(
        {kernel::NftKey({AddressBytes(opening.from, family), AddressBytes(opening.to, family),
                         Bytes(opening.port.protocol), Bytes(opening.port.port)}),
         ""});
  }
}

// One family's table.
class NftTable {
 public:
  NftTable(NftFamily family, std::string name) : family_(family), name_(std::move(name)) {}

  // Each set named in `wanted` gets exactly these elements.
  Result<> Repair(kernel::NetlinkSocket* socket, const Elements& wanted, const FirewallSetup& setup,
                  Firewall::Changes* changes) const;
  // One transaction.
  Result<> Add(kernel::NetlinkSocket* socket, const Elements& elements) const;
  Result<> Remove(kernel::NetlinkSocket* socket, const Elements& elements) const;
  Result<> RemoveTable(kernel::NetlinkSocket* socket) const;
  NftFamily family() const { return family_; }

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
  // Where a subnet ends and the next begins the end goes first: the kernel takes the beginning of
  // one for a part of the other otherwise.
  std::stable_sort(missing.begin(), missing.end(), [](const NftElement& a, const NftElement& b) {
    return a.key != b.key ? a.key < b.key : a.interval_end && !b.interval_end;
  });
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
                          const FirewallSetup& setup, Firewall::Changes* changes) const {
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
  for (const NftFixedChain& chain : NftChains(family_, setup.accepted_mark)) {
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
  NftFirewall(const FirewallSetup& setup, const std::string& stack, KernelSockets* sockets)
      : setup_(setup),
        tables_{NftTable(NftFamily::kIpv4, "gantry-" + stack),
                NftTable(NftFamily::kIpv6, "gantry-" + stack)},
        gate_(stack, setup.host_decides),
        sockets_(*sockets) {}

  Result<Changes> RepairNetworks(const std::vector<Network>& networks) override {
    return RepairTables(networks, nullptr);
  }

  Result<Changes> Repair(const std::vector<Network>& networks,
                         const std::vector<Endpoint>& endpoints) override {
    return RepairTables(networks, &endpoints);
  }

  Result<> RemoveNetwork(const Network& network, const std::vector<Network>& rest) override {
    {
      auto socket = TRY(sockets_.Take());
      for (const NftTable& table : tables_) {
        Elements elements;
        AddNetworkElements(network, table.family(), setup_, &elements);
        TRY(table.Remove(socket.get(), elements));
      }
    }
    TRY(gate_.Repair(rest));
    return {};
  }

  Result<> Publish(const std::vector<Endpoint>& endpoints) override {
    for (const NftTable& table : tables_) {
      Elements elements = ElementsOf(endpoints, table.family());
      if (elements.empty()) continue;
      auto socket = TRY(sockets_.Take());
      TRY(table.Add(socket.get(), elements));
    }
    return {};
  }

  // Goes on with the second family after a failure.
  Result<> Unpublish(const std::vector<Endpoint>& endpoints) override {
    Result<> first;
    for (const NftTable& table : tables_) {
      Elements elements = ElementsOf(endpoints, table.family());
      if (elements.empty()) continue;
      auto socket = TRY(sockets_.Take());
      auto removed = table.Remove(socket.get(), elements);
      if (!removed.ok() && first.ok()) first = std::move(removed);
    }
    return first;
  }

  Result<> Open(const std::vector<Opening>& openings) override {
    for (const NftTable& table : tables_) {
      Elements elements;
      AddLinkElements(openings, table.family(), &elements);
      if (elements.empty()) continue;
      auto socket = TRY(sockets_.Take());
      TRY(table.Add(socket.get(), elements));
    }
    return {};
  }
  Result<> Close(const std::vector<Opening>& openings) override {
    for (const NftTable& table : tables_) {
      Elements elements;
      AddLinkElements(openings, table.family(), &elements);
      if (elements.empty()) continue;
      auto socket = TRY(sockets_.Take());
      TRY(table.Remove(socket.get(), elements));
    }
    return {};
  }

  Result<> Change(const Endpoint& before, const Endpoint& after) override {
    for (const NftTable& table : tables_) {
      Elements old = ElementsOf({before}, table.family());
      Elements now = ElementsOf({after}, table.family());
      Elements gone = Difference(old, now);
      Elements added = Difference(now, old);
      auto socket = TRY(sockets_.Take());
      if (!gone.empty()) TRY(table.Remove(socket.get(), gone));
      if (!added.empty()) TRY(table.Add(socket.get(), added));
    }
    return {};
  }

  Result<> RemoveEverything() override {
    {
      auto socket = TRY(sockets_.Take());
      for (const NftTable& table : tables_) TRY(table.RemoveTable(socket.get()));
    }
    TRY(gate_.Repair({}));
    return {};
  }

  bool has_rules() const override { return true; }

 private:
  static Elements ElementsOf(const std::vector<Endpoint>& endpoints, NftFamily family) {
    Elements elements;
    for (const Endpoint& endpoint : endpoints) AddPortElements(endpoint, family, &elements);
    return elements;
  }

  // What is in `all` and not in `without`.
  static Elements Difference(const Elements& all, const Elements& without) {
    Elements rest;
    for (const auto& [set, items] : all) {
      auto other = without.find(set);
      for (const NftElement& item : items) {
        if (other == without.end() || !other->second.contains(item)) rest[set].insert(item);
      }
    }
    return rest;
  }

  // Without endpoints: ports are left as they are.
  Result<Changes> RepairTables(const std::vector<Network>& networks,
                               const std::vector<Endpoint>* endpoints) {
    Changes changes;
    for (const NftTable& table : tables_) {
      Elements elements = EmptyNetworkSets();
      for (const Network& network : networks) {
        AddNetworkElements(network, table.family(), setup_, &elements);
      }
      auto socket = TRY(sockets_.Take());
      // A host may have no IPv6 at all: a family's table is there with the first network of it.
      if (elements[kSetBridges].empty()) {
        TRY(table.RemoveTable(socket.get()));
        continue;
      }
      if (endpoints != nullptr) {
        Elements ports = EmptyPortSets();
        for (const Endpoint& endpoint : *endpoints) {
          AddPortElements(endpoint, table.family(), &ports);
        }
        AddLinkElements(OpeningsOf(*endpoints, IsIpv6(table.family())), table.family(), &ports);
        elements.merge(ports);
      }
      TRY_WITH(table.Repair(socket.get(), elements, setup_, &changes), "setting up the nft table");
    }
    for (std::string& change : TRY(gate_.Repair(networks))) changes.push_back(std::move(change));
    return changes;
  }

  const FirewallSetup setup_;
  const std::array<NftTable, 2> tables_;
  const ForwardGate gate_;
  KernelSockets& sockets_;
};

}  // namespace

std::unique_ptr<Firewall> MakeNftFirewall(const FirewallSetup& setup, const std::string& stack,
                                          KernelSockets* netfilter) {
  return std::make_unique<NftFirewall>(setup, stack, netfilter);
}

}  // namespace gantry::networks
