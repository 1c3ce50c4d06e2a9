// SPDX-License-Identifier: Apache-2.0
//
// networks::Cluster in etcd. Below PREFIX:
//
//   networks/ID           the network's record (networks/records.h), for good
//   networks.mark         changes whenever a network is added
//   hosts/ADDRESS         the id of the host that takes packets there
//   endpoints/NET/ID      where an endpoint is, as JSON
//   addresses/NET/IP      the id of the endpoint that has it
//   keys/ADDRESS          what the host there encrypts with (tunnel_keys.h)
//
// All but the networks belong to the host's lease: of a host that died, or whose daemon is away for
// longer than that, nothing is left. A session is one lease and one watch; when either breaks there
// is a new one, which says again what this host has. Its keys are the ones it told last, until they
// are as old as keys may be: what encrypts in the kernel outlives the daemon.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "etcd/client.h"
#include "networks/cluster.h"

namespace gantry::overlay {

struct HostOptions {
  std::string prefix = "/gantry/";
  std::string id;    // of this host, for good
  std::string name;  // shown to others
  formats::Ipv4Address address;
  std::chrono::seconds lease{60};
  std::chrono::seconds key_life{12 * 60 * 60};
};

class Hosts : public networks::Cluster {
 public:
  Hosts(HostOptions options, std::unique_ptr<etcd::Client> etcd);
  ~Hosts() override;

  Result<> Begin(std::vector<networks::ClusterEndpoint> own, Changed changed) override;
  void End() override;
  formats::Ipv4Address host() const override { return options_.address; }
  std::string host_name() const override { return options_.name; }
  Result<Moment> ListNetworks() override;
  Result<bool> AddNetwork(const networks::Network& network, const std::string& mark) override;
  Result<> RemoveNetwork(const networks::Network& network) override;
  Result<> Claim(const networks::ClusterEndpoint& endpoint) override;
  void Release(const std::string& endpoint_id) override;
  void RenewKeys() override;

 private:
  std::string Key(std::string_view rest) const { return options_.prefix + std::string(rest); }
  void RunSessions(const StopToken& stop);
  Result<> RunSession(const StopToken& stop);
  Result<> Register(int64_t lease);
  Result<> Introduce(int64_t lease);
  Result<> TakeStock(const etcd::Listing& listing);
  void Take(const etcd::KeyValue& item, bool deleted);
  void TakeKeys(const std::string& host, const std::string& value, bool deleted);
  void KeepLease(int64_t lease, StopSource session);
  Result<> TellReleased();
  enum class KeyStep { kKeep, kNext, kReplace };
  Result<> PutKeys(KeyStep step, int64_t lease);
  Result<> FollowKeyLife(int64_t lease);
  Result<> Put(const networks::ClusterEndpoint& endpoint, int64_t lease);
  std::vector<std::string> AddressKeys(const networks::ClusterEndpoint& endpoint) const;
  Result<int64_t> Lease();
  void LoseLease(int64_t lease);

  const HostOptions options_;
  const std::unique_ptr<etcd::Client> etcd_;
  std::optional<StopSource> stop_;
  std::thread thread_;
  Changed changed_;
  networks::ClusterView view_;  // of the thread
  WallTime keys_until_{};       // of the thread, then of its session's keeper

  Mutex mutex_;
  CondVar woken_;
  int64_t lease_ GUARDED_BY(mutex_) = 0;    // 0: no session
  std::string trouble_ GUARDED_BY(mutex_);  // why there is none; "": it was not asked yet
  std::map<std::string, networks::ClusterEndpoint> own_ GUARDED_BY(mutex_);       // by id
  std::map<std::string, networks::ClusterEndpoint> released_ GUARDED_BY(mutex_);  // not told yet
  bool renew_keys_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::overlay
