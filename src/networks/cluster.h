// SPDX-License-Identifier: Apache-2.0
//
// What hosts agree on about the networks that they share (driver overlay): which networks there
// are, and which endpoint with what addresses is on which host. src/overlay keeps it in etcd; the
// controller (overlay.cc) makes the kernel follow it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/ip_address.h"
#include "networks/records.h"

namespace gantry::networks {

struct ClusterEndpoint {
  std::string id;
  std::string network_id;
  std::string container_id;
  std::string host_name;
  formats::Ipv4Address host;  // where its host takes the tunnel's packets
  std::optional<formats::Ipv4Address> address;
  std::optional<formats::Ipv6Address> address6;
  formats::MacAddress mac;
  std::vector<std::string> names;  // the container's own first
  bool operator==(const ClusterEndpoint&) const = default;
};

// What a host's packets are encrypted with (encryption.cc): those that say `spi`, with keys that
// are made of the secret, 256 random bits as 64 hexadecimal digits.
struct TunnelKey {
  uint32_t spi = 0;
  std::string secret;
  bool operator==(const TunnelKey&) const = default;
};
// A host sends with `current`. It has told of it long before, as it has of `next`, and packets with
// `previous` may be under way.
struct TunnelKeys {
  std::optional<TunnelKey> previous;
  TunnelKey current;
  TunnelKey next;
  std::vector<TunnelKey> All() const {
    std::vector<TunnelKey> all = {current, next};
    if (previous) all.push_back(*previous);
    return all;
  }
  bool operator==(const TunnelKeys&) const = default;
};

// A moment of it.
struct ClusterView {
  std::map<std::string, Network> networks;           // by id
  std::map<std::string, ClusterEndpoint> endpoints;  // of other hosts, by id
  std::map<formats::Ipv4Address, TunnelKeys> keys;   // of all hosts, this one too
};

// Called from any thread. kUnavailable: the store can't be reached; what is set up works on.
class Cluster {
 public:
  virtual ~Cluster() = default;

  // From now on this host is known to the others, with the endpoints that it has already. `changed`
  // is called in a thread of the cluster's, with the first view and whenever there is another.
  using Changed = std::function<void(const ClusterView&)>;
  virtual Result<> Begin(std::vector<ClusterEndpoint> own, Changed changed) = 0;
  // Waits for a call of `changed` that is under way; there is none after it.
  virtual void End() = 0;

  // The address that other hosts reach this one at.
  virtual formats::Ipv4Address host() const = 0;
  virtual std::string host_name() const = 0;

  // The networks that there are, and a mark of that moment.
  struct Moment {
    std::vector<Network> networks;
    std::string mark;
  };
  virtual Result<Moment> ListNetworks() = 0;
  // False: there are others than at that moment.
  virtual Result<bool> AddNetwork(const Network& network, const std::string& mark) = 0;
  // kPermissionDenied while a host has endpoints on it.
  virtual Result<> RemoveNetwork(const Network& network) = 0;

  // Makes the endpoint and its addresses this host's, or, of one that it has, tells what is new.
  // kAlreadyExists: another has one of its addresses; kNotFound: there is no such network.
  virtual Result<> Claim(const ClusterEndpoint& endpoint) = 0;
  // It is gone. One that can't be told now is told when the store is back.
  virtual void Release(const std::string& endpoint_id) = 0;

  // This host's keys are replaced, soon: the kernel has forgotten how many packets it numbered with
  // them, and others drop numbers that they have seen.
  virtual void RenewKeys() = 0;
};

}  // namespace gantry::networks
