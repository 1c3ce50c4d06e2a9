// SPDX-License-Identifier: Apache-2.0
//
// Of a container's networks one leads: it has the default route and the published ports. As docker
// chooses: not an internal one, the highest gateway priority, then the first by name. When networks
// come and go, route and ports move. Records first: what a crash leaves between two records is put
// right by Reconcile.
#include <algorithm>
#include <tuple>

#include "base/log.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

// What comes first in this order leads.
auto Rank(const Endpoint& endpoint) {
  return std::tuple(-int64_t{endpoint.gateway_priority}, endpoint.network_name);
}

}  // namespace

std::optional<Endpoint> KernelController::LeaderOf(const std::string& container_id) const {
  std::optional<Endpoint> leader;
  for (Endpoint& endpoint : EndpointsOf(container_id)) {
    if (endpoint.internal) continue;
    if (!leader || Rank(endpoint) < Rank(*leader)) leader = std::move(endpoint);
  }
  return leader;
}

bool KernelController::Leads(const Endpoint& endpoint) const {
  std::optional<Endpoint> leader = LeaderOf(endpoint.container_id);
  return leader && leader->id == endpoint.id;
}

std::optional<Endpoint> KernelController::PublisherBeside(const Endpoint& endpoint) const {
  for (Endpoint& other : EndpointsOf(endpoint.container_id)) {
    if (other.id != endpoint.id && !other.ports.empty()) return std::move(other);
  }
  return std::nullopt;
}

// A changed endpoint: the record, then the memory.
Result<> KernelController::Remember(const Endpoint& endpoint) {
  TRY(options_.records->PutEndpoint(endpoint));
  MutexLock lock(mutex_);
  for (Endpoint& item : endpoints_[endpoint.container_id]) {
    if (item.id == endpoint.id) item = endpoint;
  }
  return {};
}

Result<> KernelController::MovePorts(const Endpoint& from, const Endpoint& to) {
  Endpoint bare = from;
  bare.ports.clear();
  TRY(Remember(bare));
  TRY_WITH(Unpublish({from}), "moving published ports to network {}", to.network_name);
  auto moved = PublishAgain(to, from.ports);
  if (moved.ok()) return {};
  Endpoint half = to;
  half.ports = from.ports;
  for (Result<> undone : {Unpublish({half}), Remember(to), PublishAgain(bare, from.ports)}) {
    if (!undone.ok()) log::Warning("moving ports back: {}", undone.error().message());
  }
  return moved;
}

// These very ports, at an endpoint that has none.
Result<> KernelController::PublishAgain(Endpoint endpoint, std::vector<PublishedPort> ports) {
  endpoint.ports = std::move(ports);
  TRY(Remember(endpoint));
  TRY(TellProxy(endpoint));
  TRY_WITH(firewall_->Publish({endpoint}), "publishing ports on network {}", endpoint.network_name);
  return {};
}

Result<> KernelController::SetDefaultRoute(const Endpoint& leader) {
  UniqueFd entry = TRY(kernel::OpenNetNamespaceEntry(leader.netns_path));
  kernel::NetNamespace netns = TRY(kernel::OpenNetNamespace(entry));
  kernel::NetlinkBatch batch;
  kernel::AppendDefaultRoute(&batch, InAddr(leader.gateway));
  TRY_WITH(netns.route.Transact(&batch), "making {} the gateway of container '{}'",
           leader.gateway.ToString(), leader.container_id);
  return {};
}

// An endpoint with these ports has just gone.
Result<> KernelController::FollowLeader(const std::string& container_id,
                                        std::vector<PublishedPort> ports) {
  if (EndpointsOf(container_id).empty()) return kernel::UnbindNetNamespace(NetnsPath(container_id));
  std::optional<Endpoint> leader = LeaderOf(container_id);
  if (!leader) return {};
  TRY(SetDefaultRoute(*leader));
  if (ports.empty()) return {};
  return PublishAgain(*std::move(leader), std::move(ports));
}

}  // namespace gantry::networks
