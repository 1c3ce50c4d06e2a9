// SPDX-License-Identifier: Apache-2.0
//
// `--link` where icc is off: containers of the default network don't reach each other, but for who
// is linked to another one; that one reaches the other's exposed ports, as in docker. The ports of
// the bridge stay isolated. The host stands between: it answers for the neighbours, and passes on
// what the firewall's rules for links let through (docs/firewall.md).
//
// What is open follows from the endpoints in memory; whoever adds or takes one away, or changes
// whom it may reach, calls FollowLinks.
#include <algorithm>
#include <set>

#include "base/log.h"
#include "kernel/neighbour_answers.h"
#include "networks/controller.h"
#include "networks/firewall_view.h"

namespace gantry::networks {
namespace {

std::vector<Opening> OpenOf(const std::vector<Endpoint>& endpoints) {
  std::vector<Opening> open = OpeningsOf(endpoints, /*ipv6=*/false);
  for (Opening& opening : OpeningsOf(endpoints, /*ipv6=*/true)) open.push_back(std::move(opening));
  std::sort(open.begin(), open.end());
  return open;
}

std::vector<Opening> WithoutThese(const std::vector<Opening>& all,
                                  const std::vector<Opening>& gone) {
  std::vector<Opening> rest;
  std::set_difference(all.begin(), all.end(), gone.begin(), gone.end(), std::back_inserter(rest));
  return rest;
}

}  // namespace

// Of the bridge that links are on.
Result<> KernelController::AnswerForLinked(const std::vector<Opening>& open) {
  Network network = TRY(InspectNetwork(""));
  std::set<std::string> addresses6;
  for (const Opening& opening : open) {
    if (opening.ipv6) addresses6.insert({opening.from, opening.to});
  }
  bool ipv4 = std::any_of(open.begin(), open.end(), [](const auto& item) { return !item.ipv6; });
  TRY(kernel::AnswerForNeighbours(network.bridge, ipv4));
  if (!network.subnet6) return {};
  std::vector<in6_addr> answered;
  for (const std::string& address : addresses6) {
    answered.push_back(InAddr6(TRY(formats::Ipv6Address::Parse(address))));
  }
  auto socket = TRY(route_sockets_.Take());
  return kernel::AnswerForNeighbours6(socket.get(), network.bridge, answered);
}

// Closed before opened: the rules go before the host ceases to answer, and come before it begins.
Result<> KernelController::FollowLinks() {
  if (!any_links_) return {};
  MutexLock lock(linking_);
  std::vector<Opening> wanted = OpenOf(ListEndpoints({}));
  if (wanted == open_) return {};
  TRY_WITH(firewall_->Close(WithoutThese(open_, wanted)), "closing ports of links");
  TRY_WITH(firewall_->Open(WithoutThese(wanted, open_)), "opening ports of links");
  open_ = wanted;
  return AnswerForLinked(wanted);
}

// The firewall has been made right; what the bridge answers follows.
Result<> KernelController::ReconcileLinks() {
  auto network = InspectNetwork("");
  if (!network.ok() || network->icc) return {};
  MutexLock lock(linking_);
  open_ = OpenOf(ListEndpoints({}));
  if (!open_.empty()) any_links_ = true;
  return AnswerForLinked(open_);
}

Result<> KernelController::SetReach(const std::string& container_id,
                                    const std::vector<std::string>& others) {
  std::shared_lock<std::shared_mutex> beside(operations_);
  for (Endpoint& endpoint : EndpointsOf(container_id)) {
    if (endpoint.named || endpoint.reaches == others) continue;
    endpoint.reaches = others;
    TRY(Remember(endpoint));
  }
  return FollowLinks();
}

}  // namespace gantry::networks
