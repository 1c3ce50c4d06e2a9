// SPDX-License-Identifier: Apache-2.0
#include "overlay/hosts.h"

#include <poll.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "overlay/endpoint_json.h"
#include "overlay/tunnel_keys.h"

namespace gantry::overlay {
namespace {

using etcd::Change;
using etcd::Guard;
using networks::ClusterEndpoint;

constexpr std::chrono::milliseconds kRetry{500};
constexpr std::chrono::seconds kFirstAnswer{5};
// A claim looks again at what it may take over when somebody was faster.
constexpr int kLooks = 5;

std::string EndpointKey(const ClusterEndpoint& endpoint) {
  return fmt::format("endpoints/{}/{}", endpoint.network_id, endpoint.id);
}

bool LeaseEnded(const Result<>& put) {
  return !put.ok() && put.error().kind() == ErrorKind::kFailedPrecondition;
}

}  // namespace

Hosts::Hosts(HostOptions options, std::unique_ptr<etcd::Client> etcd)
    : options_(std::move(options)), etcd_(std::move(etcd)) {}

Hosts::~Hosts() { End(); }

Result<> Hosts::Begin(std::vector<ClusterEndpoint> own, Changed changed) {
  changed_ = std::move(changed);
  {
    MutexLock lock(mutex_);
    for (ClusterEndpoint& endpoint : own) {
      std::string id = endpoint.id;
      own_.emplace(std::move(id), std::move(endpoint));
    }
  }
  stop_ = TRY(StopSource::Create());
  try {
    thread_ = std::thread([this, stop = stop_->token()] { RunSessions(stop); });
  } catch (const std::system_error& error) {
    return ErrnoErrorOf(error.code().value(), "starting the cluster's thread");
  }
  return {};
}

void Hosts::End() {
  if (!thread_.joinable()) return;
  stop_->RequestStop();
  thread_.join();
}

void Hosts::RunSessions(const StopToken& stop) {
  std::string told;
  while (!stop.stop_requested()) {
    auto ended = RunSession(stop);
    std::string trouble = ended.ok() ? "the host's lease ended" : ended.error().message();
    {
      MutexLock lock(mutex_);
      lease_ = 0;
      trouble_ = ended.ok() ? "" : trouble;
      woken_.NotifyAll();
    }
    if (stop.stop_requested()) return;
    // Once for each kind of trouble, not twice a second.
    if (trouble != told) log::Warning("cluster: {}; trying again", trouble);
    told = std::move(trouble);
    pollfd wait{stop.fd().get(), POLLIN, 0};
    (void)::poll(&wait, 1, static_cast<int>(kRetry.count()));
  }
}

// One lease and one watch. Without an error when it was stopped, or its lease was lost.
Result<> Hosts::RunSession(const StopToken& stop) {
  int64_t lease = TRY(etcd_->Grant(options_.lease));
  TRY(Register(lease));
  TRY(Introduce(lease));
  TRY(PutKeys(KeyStep::kKeep, lease));
  etcd::Listing listing = TRY(etcd_->List(options_.prefix));
  TRY(TakeStock(listing));
  {
    MutexLock lock(mutex_);
    lease_ = lease;
    woken_.NotifyAll();
  }
  log::Info("cluster: host {} is known as {}", options_.name, options_.address.ToString());
  changed_(view_);

  StopSource session = TRY(StopSource::Create());
  std::thread keeper([&] { KeepLease(lease, session); });
  // Either end ends the watch.
  std::thread passer([&, done = session.token()] {
    pollfd both[] = {{stop.fd().get(), POLLIN, 0}, {done.fd().get(), POLLIN, 0}};
    while (::poll(both, 2, -1) < 0) {
    }
    session.RequestStop();
  });
  auto watched = etcd_->Watch(options_.prefix, listing.revision, session.token(),
                              [&](const std::vector<etcd::Event>& events) {
                                for (const etcd::Event& event : events) {
                                  Take(event.item, event.deleted);
                                }
                                changed_(view_);
                              });
  session.RequestStop();
  {
    MutexLock lock(mutex_);
    woken_.NotifyAll();
  }
  keeper.join();
  passer.join();
  return watched;
}

// That nobody else takes packets at this address.
Result<> Hosts::Register(int64_t lease) {
  std::string key = Key("hosts/" + options_.address.ToString());
  Change put{true, key, options_.id, lease};
  if (TRY(etcd_->Commit({{Guard::Kind::kAbsent, key, ""}}, {put}))) return {};
  if (TRY(etcd_->Commit({{Guard::Kind::kValue, key, options_.id}}, {put}))) return {};
  return AlreadyExists("address {} (cluster-advertise) belongs to another host of the cluster",
                       options_.address.ToString());
}

// What this host has already.
Result<> Hosts::Introduce(int64_t lease) {
  std::map<std::string, ClusterEndpoint> own;
  {
    MutexLock lock(mutex_);
    own = own_;
  }
  for (const auto& [id, endpoint] : own) {
    auto put = Put(endpoint, lease);
    if (put.ok()) continue;
    if (put.error().kind() == ErrorKind::kUnavailable || LeaseEnded(put)) return put;
    log::Failure("cluster: container {} is out of reach of other hosts: {}", endpoint.container_id,
                 put.error().message());
  }
  return {};
}

// The view, from everything that is there; what is this host's and nothing of which it knows goes.
Result<> Hosts::TakeStock(const etcd::Listing& listing) {
  view_ = {};
  std::vector<Change> strays;
  std::map<std::string, ClusterEndpoint> own;
  {
    MutexLock lock(mutex_);
    own = own_;
    released_.clear();  // all of it is among the strays
  }
  for (const etcd::KeyValue& item : listing.items) {
    Take(item, false);
    if (!item.key.starts_with(Key("endpoints/"))) continue;
    auto read = DecodeEndpoint(item.value);
    if (!read.ok() || read->host_id != options_.id || own.contains(read->endpoint.id)) continue;
    strays.push_back({false, item.key, "", 0});
    for (std::string& key : AddressKeys(read->endpoint)) strays.push_back({false, key, "", 0});
  }
  if (!strays.empty()) TRY(etcd_->Commit({}, strays));
  return {};
}

void Hosts::Take(const etcd::KeyValue& item, bool deleted) {
  std::string rest = item.key.substr(options_.prefix.size());
  std::string id = rest.substr(rest.rfind('/') + 1);
  if (rest.starts_with("networks/")) {
    if (deleted) {
      view_.networks.erase(id);
      return;
    }
    auto network = networks::DecodeNetwork(item.value);
    if (network.ok()) {
      view_.networks.insert_or_assign(id, *std::move(network));
    } else {
      log::Failure("cluster: {}", network.error().message());
    }
  }
  if (rest.starts_with("keys/")) return TakeKeys(id, item.value, deleted);
  if (!rest.starts_with("endpoints/")) return;
  if (deleted) {
    view_.endpoints.erase(id);
    return;
  }
  auto read = DecodeEndpoint(item.value);
  if (!read.ok()) return log::Failure("cluster: {}", read.error().message());
  if (read->host_id == options_.id) return;
  view_.endpoints.insert_or_assign(id, std::move(read->endpoint));
}

void Hosts::TakeKeys(const std::string& host, const std::string& value, bool deleted) {
  auto address = formats::Ipv4Address::Parse(host);
  if (!address.ok()) return log::Failure("cluster: keys of '{}'", host);
  auto read = DecodeKeys(value);
  if (!deleted && read.ok()) {
    view_.keys.insert_or_assign(*address, std::move(read->keys));
    return;
  }
  view_.keys.erase(*address);
  if (!deleted) log::Failure("cluster: keys of host {}: {}", host, read.error().message());
  // Nobody else puts these: they were spoilt by hand.
  if (*address == options_.address) RenewKeys();
}

// Renews the lease and tells what was released, until the session ends; a lost lease ends it.
void Hosts::KeepLease(int64_t lease, StopSource session) {
  StopToken done = session.token();
  auto next = std::chrono::steady_clock::now() + options_.lease / 3;
  while (!done.stop_requested()) {
    {
      MutexLock lock(mutex_);
      auto left = std::min<std::chrono::nanoseconds>(next - std::chrono::steady_clock::now(),
                                                     keys_until_ - WallClock::now());
      bool nothing = released_.empty() && !renew_keys_;
      if (lease_ == lease && left > left.zero() && nothing) woken_.WaitFor(mutex_, left);
      if (lease_ != lease) return session.RequestStop();  // a claim has found out
    }
    if (done.stop_requested()) return;
    auto told = TellReleased();
    if (told.ok()) told = FollowKeyLife(lease);
    if (!told.ok()) log::Warning("cluster: {}", told.error().message());
    if (told.ok() && std::chrono::steady_clock::now() < next) continue;
    next = std::chrono::steady_clock::now() + options_.lease / 3;
    auto renewed = etcd_->Renew(lease);
    // One that can't be asked now is asked again; the watch finds out what is the matter.
    if (renewed.ok() && !*renewed) return session.RequestStop();
    if (!told.ok() || !renewed.ok()) {
      pollfd wait{done.fd().get(), POLLIN, 0};
      (void)::poll(&wait, 1, static_cast<int>(kRetry.count()));
    }
  }
}

Result<> Hosts::TellReleased() {
  std::map<std::string, ClusterEndpoint> released;
  {
    MutexLock lock(mutex_);
    released = released_;
  }
  for (const auto& [id, endpoint] : released) {
    std::vector<Change> changes = {{false, Key(EndpointKey(endpoint)), "", 0}};
    std::vector<Guard> guards;
    for (const std::string& key : AddressKeys(endpoint)) {
      guards.push_back({Guard::Kind::kValue, key, id});
      changes.push_back({false, key, "", 0});
    }
    // The addresses may be another's, or gone with an earlier lease.
    if (!TRY(etcd_->Commit(guards, changes))) TRY(etcd_->Commit({}, {changes.front()}));
    MutexLock lock(mutex_);
    released_.erase(id);
  }
  return {};
}

Result<> Hosts::FollowKeyLife(int64_t lease) {
  bool renew = false;
  {
    MutexLock lock(mutex_);
    renew = std::exchange(renew_keys_, false);
  }
  if (!renew && WallClock::now() < keys_until_) return {};
  auto put = PutKeys(renew ? KeyStep::kReplace : KeyStep::kNext, lease);
  MutexLock lock(mutex_);
  if (!put.ok()) renew_keys_ |= renew;
  return put;
}

// This host learns of them as the others do, from the watch, and sends with them from then on.
Result<> Hosts::PutKeys(KeyStep step, int64_t lease) {
  std::string key = Key("keys/" + options_.address.ToString());
  std::set<uint32_t> numbers;
  std::optional<DatedKeys> own;
  for (const etcd::KeyValue& item : TRY(etcd_->List(Key("keys/"))).items) {
    auto read = DecodeKeys(item.value);
    if (!read.ok()) continue;  // whose it is gets told where the view is taken
    for (const networks::TunnelKey& each : read->keys.All()) numbers.insert(each.spi);
    if (item.key == key) own = *std::move(read);
  }
  auto taken = [&](uint32_t spi) { return numbers.contains(spi); };
  WallTime now = WallClock::now();
  if (!own || step == KeyStep::kReplace) {
    own = DatedKeys{NewKeys(taken), now};
  } else if (step == KeyStep::kNext) {
    own = DatedKeys{NextKeys(own->keys, taken), now};
  }
  TRY(etcd_->Commit({}, {{true, key, EncodeKeys(*own), lease}}));
  // By a clock that was put right meanwhile no key lives longer.
  keys_until_ = std::min(own->since, now) + options_.key_life;
  return {};
}

// Of a daemon that has just started the first answer is waited for, since its containers come back;
// so is the next session of one whose lease ended.
Result<int64_t> Hosts::Lease() {
  MutexLock lock(mutex_);
  auto end = std::chrono::steady_clock::now() + kFirstAnswer;
  while (lease_ == 0 && trouble_.empty() && std::chrono::steady_clock::now() < end) {
    woken_.WaitFor(mutex_, end - std::chrono::steady_clock::now());
  }
  if (lease_ == 0) {
    return MakeError(ErrorKind::kUnavailable, "the cluster's store can't be reached: {}",
                     trouble_.empty() ? "no answer yet" : trouble_);
  }
  return lease_;
}

Result<networks::Cluster::Moment> Hosts::ListNetworks() {
  TRY(Lease());
  Moment moment;
  for (const etcd::KeyValue& item : TRY(etcd_->List(Key("networks"))).items) {
    if (item.key == Key("networks.mark")) {
      moment.mark = item.value;
    } else {
      moment.networks.push_back(TRY(networks::DecodeNetwork(item.value)));
    }
  }
  return moment;
}

Result<bool> Hosts::AddNetwork(const networks::Network& network, const std::string& mark) {
  Guard same{mark.empty() ? Guard::Kind::kAbsent : Guard::Kind::kValue, Key("networks.mark"), mark};
  return etcd_->Commit({same},
                       {{true, Key("networks/" + network.id), networks::EncodeNetwork(network), 0},
                        {true, Key("networks.mark"), RandomHex(16), 0}});
}

Result<> Hosts::RemoveNetwork(const networks::Network& network) {
  TRY(Lease());
  TRY(TellReleased());
  std::string key = Key("networks/" + network.id);
  std::string endpoints = Key("endpoints/" + network.id + "/");
  if (TRY(etcd_->Commit({{Guard::Kind::kNothingBelow, endpoints, ""}}, {{false, key, "", 0}}))) {
    return {};
  }
  std::string where;
  for (const etcd::KeyValue& item : TRY(etcd_->List(endpoints)).items) {
    auto read = DecodeEndpoint(item.value);
    if (read.ok()) where = fmt::format(", one of them on host {}", read->endpoint.host_name);
  }
  return MakeError(ErrorKind::kPermissionDenied,
                   "error while removing network: network {} id {} has active endpoints{}",
                   network.name, network.id, where);
}

std::vector<std::string> Hosts::AddressKeys(const ClusterEndpoint& endpoint) const {
  std::vector<std::string> keys;
  auto add = [&](const std::string& address) {
    keys.push_back(Key(fmt::format("addresses/{}/{}", endpoint.network_id, address)));
  };
  if (endpoint.address) add(endpoint.address->ToString());
  if (endpoint.address6) add(endpoint.address6->ToString());
  return keys;
}

// The endpoint and its addresses, unless another has one of these.
Result<> Hosts::Put(const ClusterEndpoint& endpoint, int64_t lease) {
  std::vector<std::string> keys = AddressKeys(endpoint);
  std::vector<Change> changes = {
      {true, Key(EndpointKey(endpoint)), EncodeEndpoint({options_.id, endpoint}), lease}};
  std::string network = Key("networks/" + endpoint.network_id);
  std::vector<Guard> guards = {{Guard::Kind::kPresent, network, ""}};
  for (const std::string& key : keys) {
    changes.push_back({true, key, endpoint.id, lease});
    guards.push_back({Guard::Kind::kAbsent, key, ""});
  }
  for (int look = 0; look < kLooks; ++look) {
    if (TRY(etcd_->Commit(guards, changes))) return {};
    if (TRY(etcd_->List(network)).items.empty()) {
      return NotFound("network {} is no longer in the cluster", endpoint.network_id);
    }
    for (size_t i = 0; i < keys.size(); ++i) {
      Guard& guard = guards[i + 1];
      guard.kind = Guard::Kind::kAbsent;
      for (const etcd::KeyValue& item : TRY(etcd_->List(keys[i])).items) {
        if (item.key != keys[i]) continue;  // a longer address that begins so
        if (item.value != endpoint.id) {
          return AlreadyExists("address {} is in use", keys[i].substr(keys[i].rfind('/') + 1));
        }
        guard = {Guard::Kind::kValue, keys[i], endpoint.id};
      }
    }
  }
  return MakeError(ErrorKind::kAborted, "endpoint '{}' changes all the time", endpoint.id);
}

// A host that was held up for longer than its lease finds out here, before it would renew it.
void Hosts::LoseLease(int64_t lease) {
  MutexLock lock(mutex_);
  if (lease_ != lease) return;
  lease_ = 0;
  trouble_.clear();
  woken_.NotifyAll();
}

Result<> Hosts::Claim(const ClusterEndpoint& endpoint) {
  int64_t lease = TRY(Lease());
  // One of its addresses may just have been given back.
  TRY(TellReleased());
  bool known = false;
  {
    MutexLock lock(mutex_);
    known = !own_.insert_or_assign(endpoint.id, endpoint).second;
  }
  auto put = Put(endpoint, lease);
  for (int look = 0; look < kLooks && LeaseEnded(put); ++look) {
    LoseLease(lease);
    auto next = Lease();
    if (next.ok()) lease = *next;
    put = next.ok() ? Put(endpoint, lease) : Result<>(next.error());
  }
  if (put.ok() || known) return put;
  MutexLock lock(mutex_);
  own_.erase(endpoint.id);
  return put;
}

void Hosts::Release(const std::string& endpoint_id) {
  MutexLock lock(mutex_);
  auto found = own_.find(endpoint_id);
  if (found == own_.end()) return;
  released_.insert_or_assign(endpoint_id, std::move(found->second));
  own_.erase(found);
  woken_.NotifyAll();
}

void Hosts::RenewKeys() {
  MutexLock lock(mutex_);
  renew_keys_ = true;
  woken_.NotifyAll();
}

}  // namespace gantry::overlay
