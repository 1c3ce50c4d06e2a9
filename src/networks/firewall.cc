// SPDX-License-Identifier: Apache-2.0
#include "networks/firewall.h"

#include <array>

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
  Result<> Change(const Endpoint&, const Endpoint&) override { return {}; }
  Result<> RemoveEverything() override { return {}; }
  bool forwards() const override { return false; }
};

constexpr std::array<std::string_view, 3> kBackendNames = {"nftables", "iptables", "none"};

}  // namespace

Result<FirewallBackend> ParseFirewallBackend(std::string_view name) {
  for (size_t i = 0; i < kBackendNames.size(); ++i) {
    if (kBackendNames[i] == name) return static_cast<FirewallBackend>(i);
  }
  return InvalidArgument("invalid firewall backend \"{}\": nftables, iptables or none", name);
}

std::string_view FirewallBackendName(FirewallBackend backend) {
  return kBackendNames.at(static_cast<size_t>(backend));
}

std::unique_ptr<Firewall> MakeFirewall(FirewallBackend backend, const std::string& stack,
                                       KernelSockets* netfilter) {
  switch (backend) {
    case FirewallBackend::kNftables:
      return MakeNftFirewall(stack, netfilter);
    case FirewallBackend::kIptables:
      return MakeIptablesFirewall(stack);
    case FirewallBackend::kNone:
      return std::make_unique<NoFirewall>();
  }
  CHECK(false);
}

}  // namespace gantry::networks
