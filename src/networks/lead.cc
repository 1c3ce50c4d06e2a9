// SPDX-License-Identifier: Apache-2.0
//
// Of a container's networks one leads in each family: it has the default route. Of those with a
// bridge the leader of IPv4, or of IPv6 where there is none, has the published ports, too. As
// docker chooses: not an internal one, the highest gateway priority, both families before one, then
// the first by name. When networks come and go, routes and ports move. Records first: what a crash
// leaves between two records is put right by Reconcile.
#include <algorithm>
#include <tuple>

#include "base/log.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

bool LeadsOut4(const Endpoint& endpoint) {
  return endpoint.has_ipv4() && (endpoint.by_device || !endpoint.gateway.IsUnspecified());
}

bool LeadsOut6(const Endpoint& endpoint) {
  return endpoint.gateway6 || (endpoint.by_device && endpoint.address6);
}

// What comes first in this order leads.
auto Rank(const Endpoint& endpoint) {
  bool both = LeadsOut4(endpoint) && LeadsOut6(endpoint);
  return std::tuple(-int64_t{endpoint.gateway_priority}, !both, endpoint.network_name);
}

// The first in order of those that lead out and are `fit`.
template <typename Fit>
std::optional<Endpoint> FirstOf(std::vector<Endpoint> endpoints, Fit fit) {
  std::optional<Endpoint> first;
  for (Endpoint& endpoint : endpoints) {
    if (endpoint.internal || !fit(endpoint)) continue;
    if (!first || Rank(endpoint) < Rank(*first)) first = std::move(endpoint);
  }
  return first;
}

}  // namespace

std::optional<Endpoint> KernelController::GatewayOf(const std::string& container_id, Family family,
                                                    std::string_view without) const {
  std::vector<Endpoint> endpoints = EndpointsOf(container_id);
  std::erase_if(endpoints, [&](const Endpoint& endpoint) { return endpoint.id == without; });
  return FirstOf(std::move(endpoints), family == Family::kIpv4 ? LeadsOut4 : LeadsOut6);
}

std::optional<Endpoint> KernelController::LeaderOf(const std::string& container_id) const {
  std::vector<Endpoint> endpoints = EndpointsOf(container_id);
  std::erase_if(endpoints, [](const Endpoint& endpoint) { return !endpoint.has_host_link(); });
  std::optional<Endpoint> leader = FirstOf(endpoints, LeadsOut4);
  return leader ? leader : FirstOf(endpoints, LeadsOut6);
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

// Those that lead through this endpoint when the one `without` is not there.
void KernelController::AppendDefaultRoutes(const Endpoint& endpoint, int index,
                                           kernel::NetlinkBatch* batch,
                                           std::string_view without) const {
  std::optional<Endpoint> leader = GatewayOf(endpoint.container_id, Family::kIpv4, without);
  bool leads = leader && leader->id == endpoint.id;
  if (leads && endpoint.by_device) kernel::AppendDefaultDevice(batch, index, AF_INET);
  if (leads && !endpoint.by_device) {
    kernel::AppendDefaultRoute(batch, InAddr(endpoint.gateway));
  }
  std::optional<Endpoint> leader6 = GatewayOf(endpoint.container_id, Family::kIpv6, without);
  bool leads6 = leader6 && leader6->id == endpoint.id;
  if (leads6 && endpoint.by_device) kernel::AppendDefaultDevice(batch, index, AF_INET6);
  if (leads6 && !endpoint.by_device) {
    kernel::AppendDefaultRoute6(batch, index, InAddr6(*endpoint.gateway6));
  }
}

Result<> KernelController::SetDefaultRoutes(const std::string& container_id,
                                            std::string_view without) {
  std::vector<Endpoint> endpoints = EndpointsOf(container_id);
  if (endpoints.empty()) return {};
  UniqueFd entry = TRY(kernel::OpenNetNamespaceEntry(endpoints.front().netns_path));
  kernel::NetNamespace netns = TRY(kernel::OpenNetNamespace(entry));
  for (const Endpoint& endpoint : endpoints) {
    kernel::NetlinkBatch batch;
    auto index = kernel::LinkIndex(netns.route, endpoint.interface);
    // One that is just being made, or taken away.
    if (!index.ok() && index.error().kind() == ErrorKind::kNotFound) continue;
    AppendDefaultRoutes(endpoint, TRY(std::move(index)), &batch, without);
    if (batch.message_count() == 0) continue;
    TRY_WITH(netns.route.Transact(&batch), "making network {} the way out of container '{}'",
             endpoint.network_name, container_id);
  }
  return {};
}

// An endpoint with these ports has just gone; its routes went before it.
Result<> KernelController::FollowLeader(const std::string& container_id,
                                        std::vector<PublishedPort> ports) {
  if (EndpointsOf(container_id).empty()) {
    // Where links are wanted the namespace keeps its name to its end.
    return options_.netns_links.empty() ? UnbindEntry(container_id) : Result<>();
  }
  std::optional<Endpoint> leader = LeaderOf(container_id);
  if (!leader || ports.empty()) return {};
  return PublishAgain(*std::move(leader), std::move(ports));
}

}  // namespace gantry::networks
