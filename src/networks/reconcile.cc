// SPDX-License-Identifier: Apache-2.0

#include <cerrno>
#include <set>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "kernel/rtnetlink.h"
#include "networks/controller.h"

namespace gantry::networks {

struct KernelController::KernelState {
  std::vector<kernel::Link> links;
  std::vector<std::string> netns_entries;  // names in RUN/netns
};

namespace {

// It is there, whole: the port of a bridge.
bool HasPort(const std::vector<kernel::Link>& links, const std::string& name) {
  for (const kernel::Link& link : links) {
    if (link.name == name) return link.master != 0;
  }
  return false;
}

}  // namespace

Result<ReconcileReport> KernelController::Reconcile() {
  std::unique_lock<std::shared_mutex> alone(operations_);
  ReconcileReport report;
  KernelState state = TRY(LookAtKernel());
  TRY(ReconcileEndpoints(state, &report));
  TRY(CollectCni(&report));
  FinishPluginNetworks(&report);
  TRY(ReconcileRates(&report));
  TRY(ReconcileLeaders(&report));
  TRY(RemoveStrangers(state, &report));
  TRY(ReconcileNetnsLinks(&report));
  TRY(ReconcileProxy(&report));
  TRY(ReconcileNames(&report));
  TRY_WITH(DropFormerFirewall(&report), "removing the rules of another firewall backend");

  for (std::string& change : TRY(firewall_->Repair(BridgedNetworks(), ListEndpoints({})))) {
    report.changes.push_back(std::move(change));
  }
  TRY(ReconcileLinks());
  return report;
}

// Rules last as long as the kernel, and so does the file that says whose they are.
Result<> KernelController::DropFormerFirewall(ReconcileReport* report) {
  const std::string file = options_.run_directory + "/firewall-backend";
  const std::string_view now = FirewallBackendName(options_.firewall.backend);
  Result<std::string> known = ReadFile(file);
  if (!known.ok() && known.error().error_number() != ENOENT) return std::move(known).error();
  // Before there was a file there was one default.
  const std::string former =
      known.ok() ? *known : std::string(FirewallBackendName(FirewallBackend::kNftables));
  if (former != now) {
    FirewallSetup setup{.backend = TRY(ParseFirewallBackend(former))};
    TRY(MakeFirewall(setup, options_.bridge, &netfilter_sockets_)->RemoveEverything());
    report->changes.push_back(fmt::format("rules of {} removed", former));
  }
  if (known.ok() && former == now) return {};
  return ReplaceFile(file, now, 0600);
}

Result<KernelController::KernelState> KernelController::LookAtKernel() {
  KernelState state;
  auto socket = TRY(route_sockets_.Take());
  state.links = TRY(kernel::ListLinks(socket.get()));
  state.netns_entries = TRY(ListDirectory(NetnsDirectory()));
  return state;
}

Result<bool> KernelController::IsWhole(const Endpoint& endpoint, const KernelState& state,
                                       BorrowedFd netns) {
  if (endpoint.is_cni()) return HasCniLink(endpoint, netns);
  if (endpoint.has_host_link()) return HasPort(state.links, endpoint.host_link);
  return HasSubLink(endpoint, netns);
}

namespace {

// A plugin never said that it was done: who asked for it got no answer either.
bool IsHalfMade(const Endpoint& endpoint) {
  return (endpoint.is_cni() && endpoint.cni_result.empty()) ||
         (endpoint.is_plugin() && endpoint.plugin_link.empty());
}

}  // namespace

// A record without a namespace is a lost endpoint; one without its interface is connected again.
// What a plugin made half is taken back: to ask it again could take as long as it did before.
Result<> KernelController::ReconcileEndpoints(const KernelState& state, ReconcileReport* report) {
  for (const Endpoint& endpoint : ListEndpoints({})) {
    auto netns = kernel::OpenNetNamespaceEntry(endpoint.netns_path);
    bool half = IsHalfMade(endpoint);
    bool whole = !half && netns.ok() && TRY(IsWhole(endpoint, state, *netns));
    if (whole) continue;
    if (netns.ok() && !half) {
      auto reconnected = Reconnect(endpoint);
      report->changes.push_back(reconnected.ok()
                                    ? fmt::format("container '{}' connected to network {} again",
                                                  endpoint.container_id, endpoint.network_name)
                                    : fmt::format("container '{}' has lost network {}: {}",
                                                  endpoint.container_id, endpoint.network_name,
                                                  reconnected.error().message()));
      if (reconnected.ok()) continue;
    }
    if (endpoint.is_cni() || endpoint.is_plugin()) {
      auto deleted = RemoveInterface(endpoint);
      if (!deleted.ok()) report->changes.push_back(deleted.error().message());
    }
    auto released = ReleaseAddresses(endpoint);
    if (!released.ok()) report->changes.push_back(released.error().message());
    // A container that runs on others keeps it.
    bool last = EndpointsOf(endpoint.container_id).size() == 1;
    if (!half || last) TRY(UnbindEntry(endpoint.container_id));
    TRY(options_.records->EraseEndpoint(endpoint.container_id, endpoint.network_id));
    Forget(endpoint);
    if (endpoint.has_host_link()) CheckDeadLater(endpoint.host_link);
    report->lost.push_back(endpoint);
  }
  return {};
}

// A crash while route and ports moved from one of a container's networks to another.
Result<> KernelController::ReconcileLeaders(ReconcileReport* report) {
  std::set<std::string> several;
  std::set<std::string> seen;
  for (const Endpoint& endpoint : ListEndpoints({})) {
    if (!seen.insert(endpoint.container_id).second) several.insert(endpoint.container_id);
  }
  for (const std::string& container : several) {
    auto routed = SetDefaultRoutes(container);
    if (!routed.ok()) report->changes.push_back(routed.error().message());
    std::optional<Endpoint> leader = LeaderOf(container);
    if (!leader) continue;
    std::optional<Endpoint> publisher = PublisherBeside(*leader);
    if (!publisher) continue;
    // The elements and listeners follow the records further down.
    Endpoint bare = *publisher;
    bare.ports.clear();
    if (leader->ports.empty()) leader->ports = publisher->ports;
    TRY(Remember(*leader));
    TRY(Remember(bare));
    report->changes.push_back(fmt::format("ports of container '{}' moved to network {}", container,
                                          leader->network_name));
  }
  return {};
}

Result<> KernelController::Reconnect(const Endpoint& endpoint) {
  int bridge_index = 0;
  {
    MutexLock lock(mutex_);
    bridge_index = networks_.at(endpoint.network_id).bridge_index;
  }
  UniqueFd fd = TRY(kernel::OpenNetNamespaceEntry(endpoint.netns_path));
  kernel::NetNamespace netns = TRY(kernel::OpenNetNamespace(fd));
  // Half made, if it is there.
  TRY(RemoveInterface(endpoint));
  if (endpoint.is_cni()) {
    Endpoint again = endpoint;
    return AddByCni(&again, &netns);
  }
  if (endpoint.is_plugin()) {
    Endpoint again = endpoint;
    return AddByPlugin(&again, &netns);
  }
  TRY(CreateLink(endpoint, bridge_index, &netns, Port::kLast));
  AnnounceLater(endpoint);
  return {};
}

Result<> KernelController::RemoveStrangers(const KernelState& state, ReconcileReport* report) {
  std::set<std::string> links;
  std::set<std::string> containers;
  for (const Endpoint& endpoint : ListEndpoints({})) {
    links.insert(endpoint.host_link);
    containers.insert(endpoint.container_id);
  }
  std::set<int> bridges;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, network] : networks_) bridges.insert(network.bridge_index);
  }
  bridges.erase(0);
  for (const std::string& entry : state.netns_entries) {
    if (containers.contains(entry)) continue;
    TRY(UnbindEntry(entry));
    report->changes.push_back(fmt::format("namespace entry '{}' removed: no record", entry));
  }
  for (const kernel::Link& link : state.links) {
    // Another program's port in our bridge stays: ours are named veth and seven digits.
    bool ours = link.kind == "veth" && bridges.contains(link.master) &&
                link.name.starts_with("veth") && link.name.size() == 11;
    if (!ours || links.contains(link.name)) continue;
    TRY(DeleteLink(link.name));
    report->changes.push_back(fmt::format("interface '{}' removed: no record", link.name));
  }
  return {};
}

Result<> KernelController::ReconcileProxy(ReconcileReport* report) {
  std::map<std::string, Endpoint> publishing;
  for (Endpoint& endpoint : ListEndpoints({})) {
    if (!endpoint.ports.empty()) publishing.emplace(endpoint.id, std::move(endpoint));
  }
  if (!publishing.empty()) {
    TRY(EnsureProxy());
  } else if (!proxy_.IsRunning()) {
    return {};
  }
  formats::ProxyReply listed = TRY(proxy_.Call({formats::ProxyOperation::kList, "", {}}));
  for (const formats::ProxyOwner& owner : listed.owners) {
    auto known = publishing.find(owner.owner);
    if (known == publishing.end()) {
      TRY(proxy_.Call({formats::ProxyOperation::kSet, owner.owner, {}}));
      report->changes.push_back(
          fmt::format("published ports of endpoint '{}' closed: no record", owner.owner));
    } else if (owner.listeners == ListenersFor(known->second.ports, ProxyTarget(known->second))) {
      publishing.erase(known);
    }
  }
  for (const auto& [id, endpoint] : publishing) {
    auto told = TellProxy(endpoint);
    report->changes.push_back(
        told.ok() ? fmt::format("ports of container '{}' published again", endpoint.container_id)
                  : told.error().message());
  }
  WatchProxy();
  return {};
}

}  // namespace gantry::networks
