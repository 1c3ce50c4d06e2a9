// SPDX-License-Identifier: Apache-2.0
//
// The host's packet rules: which packets the bridges let in and out, and where published ports
// lead (docs/firewall.md). Three of them, chosen by `--firewall-backend`:
//
//   nftables   a table of our own for each family (nft_firewall.cc), and a jump in iptables'
//   FORWARD
//              where that decides, too (forward_gate.h)
//   iptables   chains of our own in iptables' tables (iptables_firewall.cc), for hosts without nft
//   none       no rule at all: published ports are carried by gantry-proxy alone
//
// Rules are adopted and repaired by difference, never flushed. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "networks/firewall_backend.h"
#include "networks/firewall_view.h"
#include "networks/kernel_sockets.h"
#include "networks/records.h"

namespace gantry::networks {

class Firewall {
 public:
  // One line for each thing that was changed.
  using Changes = std::vector<std::string>;

  virtual ~Firewall() = default;

  // Makes what is missing of the fixed rules, and has rules for exactly these networks. Ports are
  // left as they are.
  virtual Result<Changes> RepairNetworks(const std::vector<Network>& networks) = 0;
  // The same, and the ports and links of exactly these endpoints.
  virtual Result<Changes> Repair(const std::vector<Network>& networks,
                                 const std::vector<Endpoint>& endpoints) = 0;
  // `rest`: the networks that stay. Rules that are gone already are no error.
  virtual Result<> RemoveNetwork(const Network& network, const std::vector<Network>& rest) = 0;

  // The ports of these endpoints; nothing to publish is no error. After a failure some may be
  // published: Unpublish takes them back.
  virtual Result<> Publish(const std::vector<Endpoint>& endpoints) = 0;
  // Rules that are gone already are no error.
  virtual Result<> Unpublish(const std::vector<Endpoint>& endpoints) = 0;

  // Ports of links; none is no error. Rules that are gone already are no error of Close.
  virtual Result<> Open(const std::vector<Opening>& openings) = 0;
  virtual Result<> Close(const std::vector<Opening>& openings) = 0;

  // An endpoint's ports become others; those that stay are not touched.
  virtual Result<> Change(const Endpoint& before, const Endpoint& after) = 0;

  // Everything of this stack. Nothing there: no error.
  virtual Result<> RemoveEverything() = 0;
  // There are rules at all, which somebody may take away.
  virtual bool has_rules() const = 0;
};

// `stack` is the name of the default bridge: rules of several stacks live side by side. The sockets
// outlive the firewall. A family that is left out is to the rules as if no network had it.
std::unique_ptr<Firewall> MakeFirewall(const FirewallSetup& setup, const std::string& stack,
                                       KernelSockets* netfilter);
std::unique_ptr<Firewall> MakeNftFirewall(const FirewallSetup& setup, const std::string& stack,
                                          KernelSockets* netfilter);
std::unique_ptr<Firewall> MakeIptablesFirewall(const FirewallSetup& setup,
                                               const std::string& stack);

}  // namespace gantry::networks
