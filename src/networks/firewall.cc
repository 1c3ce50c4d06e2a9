// SPDX-License-Identifier: Apache-2.0
#include "networks/firewall.h"

#include <array>

#include "base/log.h"
#include "base/number.h"
#include "base/text.h"

namespace gantry::networks {
namespace {

class NoFirewall : public Firewall {
 public:
  Result<Changes> RepairNetworks(const std::vector<Network>&) override { return Changes{}; }
  Result<Changes> Repair(const std::vector<Network>&, const std::vector<Endpoint>&) override {
    return Changes{};
  }
  Result<> RemoveNetwork(const Network&, const std::vector<Network>&) override { return {}; }
  Result<> Publish(const std::vector<Endpoint>&) override { return {}; }
  Result<> Unpublish(const std::vector<Endpoint>&) override { return {}; }
  Result<> Open(const std::vector<Opening>& openings) override {
    if (!openings.empty()) log::Warning("links can't open ports: there is no rule that could");
    return {};
  }
  Result<> Close(const std::vector<Opening>&) override { return {}; }
  Result<> Change(const Endpoint&, const Endpoint&) override { return {}; }
  Result<> RemoveEverything() override { return {}; }
  bool has_rules() const override { return false; }
};

// Shows the backend one family alone.
class OneFamilyFirewall : public Firewall {
 public:
  OneFamilyFirewall(FirewallFamilies families, std::unique_ptr<Firewall> backend)
      : families_(families), backend_(std::move(backend)) {}

  Result<Changes> RepairNetworks(const std::vector<Network>& networks) override {
    return backend_->RepairNetworks(Seen(networks));
  }
  Result<Changes> Repair(const std::vector<Network>& networks,
                         const std::vector<Endpoint>& endpoints) override {
    return backend_->Repair(Seen(networks), Seen(endpoints));
  }
  Result<> RemoveNetwork(const Network& network, const std::vector<Network>& rest) override {
    return backend_->RemoveNetwork(Seen(network), Seen(rest));
  }
  Result<> Publish(const std::vector<Endpoint>& endpoints) override {
    return backend_->Publish(Seen(endpoints));
  }
  Result<> Unpublish(const std::vector<Endpoint>& endpoints) override {
    return backend_->Unpublish(Seen(endpoints));
  }
  Result<> Open(const std::vector<Opening>& openings) override {
    return backend_->Open(Seen(openings));
  }
  Result<> Close(const std::vector<Opening>& openings) override {
    return backend_->Close(Seen(openings));
  }
  Result<> Change(const Endpoint& before, const Endpoint& after) override {
    return backend_->Change(Seen(before), Seen(after));
  }
  Result<> RemoveEverything() override { return backend_->RemoveEverything(); }
  bool has_rules() const override { return backend_->has_rules(); }

 private:
  Network Seen(Network network) const {
    if (!families_.ipv4) network.ipv4 = false;
    if (!families_.ipv6) network.subnet6.reset();
    return network;
  }
  Endpoint Seen(Endpoint endpoint) const {
    if (!families_.ipv4) endpoint.prefix_length = 0;
    if (!families_.ipv6) endpoint.address6.reset();
    return endpoint;
  }
  std::vector<Opening> Seen(std::vector<Opening> openings) const {
    std::erase_if(openings, [&](const Opening& opening) {
      return opening.ipv6 ? !families_.ipv6 : !families_.ipv4;
    });
    return openings;
  }
  template <typename Item>
  std::vector<Item> Seen(std::vector<Item> items) const {
    for (Item& item : items) item = Seen(std::move(item));
    return items;
  }

  const FirewallFamilies families_;
  const std::unique_ptr<Firewall> backend_;
};

std::unique_ptr<Firewall> MakeBackend(const FirewallSetup& setup, const std::string& stack,
                                      KernelSockets* netfilter) {
  switch (setup.backend) {
    case FirewallBackend::kNftables:
      return MakeNftFirewall(setup, stack, netfilter);
    case FirewallBackend::kIptables:
      return MakeIptablesFirewall(setup, stack);
    case FirewallBackend::kNone:
      return std::make_unique<NoFirewall>();
  }
  CHECK(false);
}

// As strconv.ParseUint(text, 0, 32): decimal, or "0x10", "0b11", "0o17", "017".
std::optional<uint32_t> ParseGoNumber(std::string_view text) {
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    char kind = Lower(text[1]);
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    text.remove_prefix(kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1);
  }
  return ParseNumber<uint32_t>(text, base);
}

constexpr std::array<std::string_view, 3> kBackendNames = {"nftables", "iptables", "none"};

}  // namespace

Result<FirewallBackend> ParseFirewallBackend(std::string_view name) {
  for (size_t i = 0; i < kBackendNames.size(); ++i) {
    if (kBackendNames[i] == name) return static_cast<FirewallBackend>(i);
  }
  return InvalidArgument("invalid firewall backend \"{}\": nftables, iptables or none", name);
}

Result<PacketMark> ParsePacketMark(const std::string& text) {
  PacketMark parsed;
  size_t slash = text.find('/');
  auto mark = ParseGoNumber(text.substr(0, slash));
  if (!mark)
    return InvalidArgument("invalid bridge-accept-fwmark: invalid firewall mark \"{}\"", text);
  parsed.mark = *mark;
  if (slash == std::string::npos) return parsed;
  auto mask = ParseGoNumber(text.substr(slash + 1));
  if (!mask)
    return InvalidArgument("invalid bridge-accept-fwmark: invalid firewall mask \"{}\"", text);
  parsed.mask = *mask;
  return parsed;
}

std::string ToString(const PacketMark& mark) {
  std::string text = fmt::format("{:#x}", mark.mark);
  return mark.mask == PacketMark{}.mask ? text : fmt::format("{}/{:#x}", text, mark.mask);
}

std::string_view FirewallBackendName(FirewallBackend backend) {
  return kBackendNames.at(static_cast<size_t>(backend));
}

std::unique_ptr<Firewall> MakeFirewall(const FirewallSetup& setup, const std::string& stack,
                                       KernelSockets* netfilter) {
  const FirewallFamilies& families = setup.families;
  if (!families.ipv4 && !families.ipv6) return std::make_unique<NoFirewall>();
  auto made = MakeBackend(setup, stack, netfilter);
  if (families == FirewallFamilies{}) return made;
  return std::make_unique<OneFamilyFirewall>(families, std::move(made));
}

}  // namespace gantry::networks
