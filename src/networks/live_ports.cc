// SPDX-License-Identifier: Apache-2.0
//
// Ports of a container that runs: gantry-proxy binds what is new, the record, then the firewall;
// each step is taken back when a later one fails. What a crash leaves between them Reconcile puts
// right by the record.
#include <algorithm>

#include "base/log.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

// The wish is met by a port that is published. A wish for no address is met at any. `routed`: the
// families in which a port is none of the host's; one that came from another network (its leader is
// another now) may be of the other kind.
bool Fits(const PublishedPort& port, const PortRequest& wish, BoundFamilies routed) {
  bool ipv6 = port.host_ip.find(':') != std::string::npos;
  if ((port.host_port == 0) != (ipv6 ? routed.ipv6 : routed.ipv4)) return false;
  uint16_t last = std::max(wish.host_port_first, wish.host_port_last);
  bool at_port = wish.host_port_first == 0 || port.host_port == 0 ||
                 (wish.host_port_first <= port.host_port && port.host_port <= last);
  return port.protocol == wish.protocol && port.container_port == wish.container_port && at_port &&
         (wish.host_ip.empty() || wish.host_ip == port.host_ip);
}

// The same port on two families' addresses is one wish, also when one of them is routed.
bool IsSameWish(const PublishedPort& a, const PublishedPort& b) {
  bool same_port = a.host_port == b.host_port || a.host_port == 0 || b.host_port == 0;
  return a.protocol == b.protocol && a.container_port == b.container_port && same_port;
}

// Moves what meets a wish from *published to the result, and takes that wish from *wishes.
std::vector<PublishedPort> Keep(std::vector<PublishedPort>* published,
                                std::vector<PortRequest>* wishes, BoundFamilies routed) {
  std::vector<PublishedPort> kept;
  std::erase_if(*wishes, [&](const PortRequest& wish) {
    auto found = std::find_if(published->begin(), published->end(),
                              [&](const PublishedPort& port) { return Fits(port, wish, routed); });
    if (found == published->end()) return false;
    PublishedPort first = *found;
    std::erase_if(*published, [&](const PublishedPort& port) {
      bool goes_along = port == first || (wish.host_ip.empty() && IsSameWish(port, first));
      if (goes_along) kept.push_back(port);
      return goes_along;
    });
    return true;
  });
  return kept;
}

}  // namespace

// On networks of mode routed that don't lead, in which no port of the host has a part.
Result<> KernelController::FollowRouted(const Endpoint& leader,
                                        const std::vector<PortRequest>& ports) {
  for (const Endpoint& endpoint : EndpointsOf(leader.container_id)) {
    if (!endpoint.has_host_link()) continue;
    Endpoint after = endpoint;
    after.routed_ports.clear();
    if (endpoint.id != leader.id && !endpoint.internal) {
      after.routed_ports = RoutedPorts(ports, TRY(PlanOf(endpoint)).routed);
    }
    if (after.routed_ports == endpoint.routed_ports) continue;
    TRY(Remember(after));
    TRY_WITH(firewall_->Change(endpoint, after), "publishing ports on network {}",
             endpoint.network_name);
  }
  return {};
}

Result<Endpoint> KernelController::SetPorts(const std::string& container_id,
                                            const std::vector<PortRequest>& ports,
                                            const std::string& default_ip) {
  TRY(CheckPorts(ports));
  std::shared_lock<std::shared_mutex> beside(operations_);
  std::shared_lock<std::shared_mutex> publishing(publishing_);
  std::optional<Endpoint> leader = LeaderOf(container_id);
  if (!leader) {
    return FailedPrecondition("container {} is on no network that ports can be published on",
                              container_id);
  }
  const Endpoint before = *leader;
  const PublishPlan plan = TRY(PlanOf(before));
  std::vector<PublishedPort> published = before.ports;
  std::vector<PortRequest> missing = ports;
  Endpoint after = before;
  after.ports = Keep(&published, &missing, plan.routed);
  after.routed_ports.clear();  // of one that has just become the leader
  if (missing.empty() && published.empty() && before.routed_ports.empty()) {
    TRY(FollowRouted(before, ports));
    return before;
  }
  PlacePorts(TRY(InspectNetwork(before.network_id)), default_ip, &missing);

  auto told = [&](const std::vector<formats::ProxyListener>& listeners) {
    formats::ProxyRequest request{formats::ProxyOperation::kSet, before.id, listeners};
    return CallOrStart([&] { return proxy_.CallAll({request}, {}); }, &publishing);
  };
  auto undo_proxy = [&] {
    auto undone = told(ListenersFor(before.ports, ProxyTarget(before)));
    if (!undone.ok()) log::Warning("undoing a change of ports: {}", undone.error().message());
  };
  std::vector<formats::ProxyListener> listeners = ListenersFor(after.ports, ProxyTarget(after));
  size_t kept = listeners.size();
  for (formats::ProxyListener& added : ListenersFor(missing, ProxyTarget(after), plan.bound)) {
    listeners.push_back(std::move(added));
  }
  TRY(CheckSctp(after, {listeners.begin() + static_cast<std::ptrdiff_t>(kept), listeners.end()}));
  formats::ProxyReply reply = TRY_WITH(told(listeners), "publishing ports").front();
  if (reply.failure) return NameHolder(*reply.failure, listeners);
  if (reply.ports.size() != listeners.size()) {
    undo_proxy();
    return Internal("publishing ports: gantry-proxy answered with {} of {} ports",
                    reply.ports.size(), listeners.size());
  }
  auto from = static_cast<std::ptrdiff_t>(kept);
  for (PublishedPort& added : PublishedBy({listeners.begin() + from, listeners.end()},
                                          {reply.ports.begin() + from, reply.ports.end()})) {
    after.ports.push_back(std::move(added));
  }
  for (PublishedPort& added : RoutedPorts(missing, plan.routed)) {
    after.ports.push_back(std::move(added));
  }
  auto remembered = Remember(after);
  auto changed = remembered.ok() ? firewall_->Change(before, after) : std::move(remembered);
  if (changed.ok()) changed = FollowRouted(after, ports);
  if (changed.ok()) changed = FollowLinks();
  if (changed.ok()) {
    Endpoint gone = before;
    gone.ports = published;
    ForgetConnectionsLater({gone});
    return after;
  }
  for (Result<> undone : {Remember(before), firewall_->Change(after, before), FollowLinks()}) {
    if (!undone.ok()) log::Warning("undoing a change of ports: {}", undone.error().message());
  }
  undo_proxy();
  return std::move(changed).error().AddContext("publishing ports");
}

}  // namespace gantry::networks
