// SPDX-License-Identifier: Apache-2.0
//
// How fast a container sends and receives on each of its networks. What it receives is held back at
// the host's end of its veth, what it sends at its own end, where its sockets feel that at once and
// wait; a network without a host's end has the second alone. Records first: what a crash leaves
// half done Reconcile puts right by them.
#include <set>

#include "base/log.h"
#include "kernel/link_rate.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

Result<> Limit(kernel::NetlinkSocket* socket, const std::string& interface, const Rates& rates) {
  int index = TRY(kernel::LinkIndex(*socket, interface));
  if (!rates.limited()) {
    TRY_WITH(kernel::RemoveLinkRate(socket, index), "taking the rate off '{}'", interface);
    return {};
  }
  TRY_WITH(kernel::SetLinkRate(socket, index, {rates.rate, rates.ceil}),
           "limiting the rate of '{}'", interface);
  return {};
}

}  // namespace

// The host's end last: a limit is taken off by Reconcile where that one is seen.
Result<> KernelController::LimitLink(const Endpoint& endpoint, kernel::NetNamespace* netns) {
  TRY(Limit(&netns->route, endpoint.interface, endpoint.rates));
  if (!endpoint.has_host_link()) return {};
  auto socket = TRY(route_sockets_.Take());
  return Limit(socket.get(), endpoint.host_link, endpoint.rates);
}

Result<> KernelController::FollowRates(const Endpoint& endpoint) {
  UniqueFd entry = TRY(kernel::OpenNetNamespaceEntry(endpoint.netns_path));
  kernel::NetNamespace netns = TRY(kernel::OpenNetNamespace(entry));
  return LimitLink(endpoint, &netns);
}

Result<> KernelController::SetRates(const std::string& container_id, const Rates& rates) {
  std::shared_lock<std::shared_mutex> beside(operations_);
  std::vector<Endpoint> changed;
  for (const Endpoint& before : EndpointsOf(container_id)) {
    if (before.rates == rates) continue;
    Endpoint after = before;
    after.rates = rates;
    changed.push_back(before);
    auto remembered = Remember(after);
    auto followed = remembered.ok() ? FollowRates(after) : std::move(remembered);
    if (followed.ok()) continue;
    for (const Endpoint& endpoint : changed) {
      for (Result<> undone : {Remember(endpoint), FollowRates(endpoint)}) {
        if (!undone.ok()) log::Warning("undoing a change of rates: {}", undone.error().message());
      }
    }
    return followed;
  }
  return {};
}

// Those that have none but a queue of ours on the host, and those that should have one.
Result<> KernelController::ReconcileRates(ReconcileReport* report) {
  std::set<int> limited;
  {
    auto socket = TRY(route_sockets_.Take());
    limited = TRY(kernel::LinksWithRate(socket.get()));
  }
  for (const Endpoint& endpoint : ListEndpoints({})) {
    bool fits = !endpoint.rates.limited();
    if (fits && endpoint.has_host_link()) {
      auto socket = TRY(route_sockets_.Take());
      auto index = kernel::LinkIndex(*socket.get(), endpoint.host_link);
      fits = !index.ok() || !limited.contains(*index);
    }
    if (fits) continue;
    auto followed = FollowRates(endpoint);
    if (!followed.ok()) {
      report->changes.push_back(fmt::format("container '{}', network {}: {}", endpoint.container_id,
                                            endpoint.network_name, followed.error().message()));
    }
  }
  return {};
}

}  // namespace gantry::networks
