// SPDX-License-Identifier: Apache-2.0
//
// Names on users' networks, gantryd's side (docs/resolver.md): the sockets and the nft table in a
// container's namespace, and what gantry-proxy is told. Nothing of it is recorded: it follows from
// the endpoints' records.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "kernel/nftables.h"
#include "networks/controller.h"
#include "networks/host_resolver.h"
#include "networks/resolver_sockets.h"

namespace gantry::networks {
namespace {

using formats::ProxyOperation;
using kernel::NftConcat;
using kernel::NftFamily;
using kernel::NftRule;
using kernel::NftType;

constexpr uint32_t kResolverAddress = 127u << 24 | 11;  // 127.0.0.11
constexpr uint16_t kDnsPort = 53;
constexpr int kBacklog = 16;
constexpr int kProxyEnd = 5000;  // milliseconds
constexpr int32_t kPriorityDestinationNat = -100;
constexpr const char* kTable = "gantry-dns";
constexpr const char* kMap = "ports";
constexpr const char* kRuleComment = "the resolver's ports";

std::string Network16(uint16_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string Network32(uint32_t value) {
  return Network16(static_cast<uint16_t>(value >> 16)) + Network16(static_cast<uint16_t>(value));
}

// Bound to the resolver's address; *port is what the kernel chose.
Result<UniqueFd> OpenSocket(int type, uint16_t* port) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError("opening a socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(kResolverAddress);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), generic, size) < 0) return ErrnoError("binding 127.0.0.11");
  if (type == SOCK_STREAM && ::listen(fd.get(), kBacklog) < 0) return ErrnoError("listening");
  if (::getsockname(fd.get(), generic, &size) < 0) return ErrnoError("asking for a socket's port");
  *port = ntohs(address.sin_port);
  return fd;
}

// Port 53 leads to the two sockets; in place of what an earlier resolver made.
Result<> RedirectPort(uint16_t udp, uint16_t tcp) {
  kernel::NetlinkSocket socket = TRY(kernel::NetlinkSocket::Open(NETLINK_NETFILTER));
  kernel::NftBatch batch(kernel::NftFamily::kIpv4, kTable);
  // Not in any case: closing the socket then waits for a grace period of the kernel, which is most
  // of what a start's network takes.
  if (TRY(kernel::NftTableExists(&socket, NftFamily::kIpv4, kTable))) batch.DeleteTable();
  batch.AddTable();
  uint32_t target = NftConcat({NftType::kIpv4Address, NftType::kInetService});
  batch.AddSet(
      {kMap, NftConcat({NftType::kInetProto, NftType::kInetService}), 8, false, target, 8});
  auto element = [](uint8_t protocol, uint16_t port) {
    return kernel::NftElement{
        kernel::NftKey({std::string(1, static_cast<char>(protocol)), Network16(kDnsPort)}),
        kernel::NftKey({Network32(kResolverAddress), Network16(port)})};
  };
  batch.AddElements(kMap, {element(IPPROTO_UDP, udp), element(IPPROTO_TCP, tcp)});
  batch.AddChain({"output", "nat", NF_INET_LOCAL_OUT, kPriorityDestinationNat});
  batch.AddRule("output",
                NftRule()
                    .LoadDestination(NftFamily::kIpv4, 0)
                    .EqualNetwork(0, kResolverAddress)
                    .LoadProtocol(0)
                    .LoadDestinationPort(1)
                    .LookUp(0, kMap, 0)
                    .DestinationNat(NftFamily::kIpv4, 0, 1),
                kRuleComment);
  return batch.Commit(&socket);
}

// That table is there, whole: somebody may have flushed the namespace's rules.
Result<bool> IsPortRedirected() {
  kernel::NetlinkSocket socket = TRY(kernel::NetlinkSocket::Open(NETLINK_NETFILTER));
  if (!TRY(kernel::NftTableExists(&socket, NftFamily::kIpv4, kTable))) return false;
  std::vector<kernel::NftListedRule> rules =
      TRY(kernel::ListNftRules(&socket, NftFamily::kIpv4, kTable));
  if (rules.size() != 1 || rules.front().comment != kRuleComment) return false;
  return TRY(kernel::ListNftElements(&socket, NftFamily::kIpv4, kTable, kMap)).size() == 2;
}

Result<> Refused(const formats::ProxyReply& reply) {
  if (!reply.failure) return {};
  return Internal("gantry-proxy: {}", reply.failure->message);
}

formats::ProxyRequest EndpointRequest(const Endpoint& endpoint, bool present) {
  formats::ProxyRequest request;
  request.operation = ProxyOperation::kEndpoint;
  request.endpoint.owner = endpoint.id;
  if (!present) return request;
  request.endpoint = {
      endpoint.id,           endpoint.network_id,
      endpoint.network_name, endpoint.has_ipv4() ? endpoint.address.ToString() : "",
      endpoint.names,        endpoint.address6 ? endpoint.address6->ToString() : ""};
  return request;
}

}  // namespace

Result<ResolverSockets> OpenResolver(BorrowedFd netns) {
  ResolverSockets sockets;
  TRY_WITH(kernel::RunInNetNamespace(netns,
                                     [&]() -> Result<> {
                                       uint16_t udp = 0;
                                       uint16_t tcp = 0;
                                       sockets.udp = TRY(OpenSocket(SOCK_DGRAM, &udp));
                                       sockets.tcp = TRY(OpenSocket(SOCK_STREAM, &tcp));
                                       return RedirectPort(udp, tcp);
                                     }),
           "opening the container's resolver");
  return sockets;
}

bool KernelController::HasNames(const std::string& container_id) const {
  std::vector<Endpoint> endpoints = EndpointsOf(container_id);
  return std::any_of(endpoints.begin(), endpoints.end(), [](const auto& e) { return e.named; });
}

// What the container's resolver should be; without networks when it should have none.
Result<formats::ProxyRequest> KernelController::ResolverRequest(
    const std::string& container_id) const {
  formats::ProxyRequest request;
  request.operation = ProxyOperation::kResolver;
  formats::ProxyResolver& resolver = request.resolver;
  resolver.owner = container_id;
  std::optional<Endpoint> leader = LeaderOf(container_id);
  std::vector<std::string> dns;
  for (const Endpoint& endpoint : EndpointsOf(container_id)) {
    if (!endpoint.named) continue;
    // Names of the network that leads come first.
    bool leads = leader && leader->id == endpoint.id;
    resolver.networks.insert(leads ? resolver.networks.begin() : resolver.networks.end(),
                             endpoint.network_id);
    for (const auto& [alias, name] : endpoint.links) resolver.links.push_back({alias, name});
    dns = endpoint.dns;
  }
  resolver.outside = leader.has_value();
  if (!resolver.networks.empty()) resolver.servers = ServersFor(dns, TRY(ReadHostResolvConf()));
  return request;
}

// A call to a proxy that may have to be started; `publishing` is held, but given back meanwhile.
Result<std::vector<formats::ProxyReply>> KernelController::CallOrStart(
    const ProxyCall& call, std::shared_lock<std::shared_mutex>* publishing) {
  auto answered = call();
  if (answered.ok() || answered.error().kind() != ErrorKind::kUnavailable) return answered;
  publishing->unlock();
  auto ensured = EnsureProxy();
  publishing->lock();
  TRY(std::move(ensured));
  answered = call();
  bool old = !answered.ok() && answered.error().kind() == ErrorKind::kUnavailable;
  if (!old || !proxy_.IsRunning()) return answered;
  publishing->unlock();
  auto replaced = ReplaceProxy();
  publishing->lock();
  TRY(std::move(replaced));
  return call();
}

// One of an earlier version hangs up on what it does not know. Its connections are cut.
Result<> KernelController::ReplaceProxy() {
  log::Warning("gantry-proxy is of an earlier version: it is replaced");
  UniqueFd watched = TRY(proxy_.Watch());
  TRY(proxy_.Call({ProxyOperation::kStop, "", {}}));
  // It hangs up when it has ended; one that does not is found out by EnsureProxy.
  pollfd ended{watched.get(), POLLIN, 0};
  (void)::poll(&ended, 1, kProxyEnd);
  return EnsureProxy();
}

// The endpoint has just been connected: its names, and what its container may ask.
Result<> KernelController::PublishNames(const Endpoint& endpoint, ReadyNamespace* ready,
                                        std::shared_lock<std::shared_mutex>* publishing) {
  std::vector<Endpoint> all = EndpointsOf(endpoint.container_id);
  bool first = std::none_of(all.begin(), all.end(), [&](const Endpoint& other) {
    return other.named && other.id != endpoint.id;
  });
  std::vector<formats::ProxyRequest> requests = {TRY(ResolverRequest(endpoint.container_id))};
  if (endpoint.named) requests.push_back(EndpointRequest(endpoint, true));
  const UniqueFd& netns = ready->netns.fd;
  // Each time with other sockets: a proxy that is started meanwhile is told of this container too,
  // and port 53 leads to the sockets that were opened last.
  auto call = [&]() -> Result<std::vector<formats::ProxyReply>> {
    if (!first) return proxy_.CallAll(requests, {});
    auto opened = std::exchange(ready->resolver, std::nullopt);
    ResolverSockets sockets = opened ? *std::move(opened) : TRY(OpenResolver(netns));
    return proxy_.CallAll(requests, {sockets.udp, sockets.tcp, netns});
  };
  for (const auto& reply : TRY(CallOrStart(call, publishing))) TRY(Refused(reply));
  return {};
}

// These endpoints are gone, or about to go; what is left of their container's is in memory.
Result<> KernelController::ForgetNames(const std::string& container_id,
                                       const std::vector<Endpoint>& gone, bool all) {
  std::vector<formats::ProxyRequest> requests;
  for (const Endpoint& endpoint : gone) {
    if (endpoint.named) requests.push_back(EndpointRequest(endpoint, false));
  }
  // Leaving the network that led out changes what may be asked outside.
  if (requests.empty() && (all || !HasNames(container_id))) return {};
  if (all) {
    formats::ProxyRequest forget;
    forget.operation = ProxyOperation::kResolver;
    forget.resolver.owner = container_id;
    requests.push_back(std::move(forget));
  } else {
    requests.push_back(TRY(ResolverRequest(container_id)));
  }
  auto replies = proxy_.CallAll(requests, {});
  // A proxy that is not there knows of none.
  if (!replies.ok() && replies.error().kind() == ErrorKind::kUnavailable) return {};
  for (const auto& reply : TRY(std::move(replies))) TRY(Refused(reply));
  return {};
}

// A container's resolver and names, to a proxy that may know nothing of it. One whose namespace is
// not there yet is just being attached, and told of then.
Result<> KernelController::TellNames(const std::string& container_id) {
  auto entry = kernel::OpenNetNamespaceEntry(NetnsPath(container_id));
  if (!entry.ok() && entry.error().kind() == ErrorKind::kNotFound) return {};
  UniqueFd netns = TRY(std::move(entry));
  std::vector<formats::ProxyRequest> requests = {TRY(ResolverRequest(container_id))};
  for (const Endpoint& endpoint : EndpointsOf(container_id)) {
    if (endpoint.named) requests.push_back(EndpointRequest(endpoint, true));
  }
  ResolverSockets sockets = TRY(OpenResolver(netns));
  for (const auto& reply : TRY(proxy_.CallAll(requests, {sockets.udp, sockets.tcp, netns}))) {
    TRY(Refused(reply));
  }
  return {};
}

// Whom names stand for, to a proxy that may know nothing of it.
Result<> KernelController::TellEndpoints(const std::vector<Endpoint>& endpoints) {
  if (endpoints.empty()) return {};
  std::vector<formats::ProxyRequest> requests;
  for (const Endpoint& endpoint : endpoints) requests.push_back(EndpointRequest(endpoint, true));
  for (const auto& reply : TRY(proxy_.CallAll(requests, {}))) TRY(Refused(reply));
  return {};
}

// Of a container whose sockets the proxy has.
Result<bool> KernelController::LeadsToResolver(const std::string& container_id) {
  auto entry = kernel::OpenNetNamespaceEntry(NetnsPath(container_id));
  // Somebody took the entry away: nothing can be made right in there.
  if (!entry.ok() && entry.error().kind() == ErrorKind::kNotFound) return true;
  UniqueFd netns = TRY(std::move(entry));
  bool leads = false;
  TRY(kernel::RunInNetNamespace(netns, [&]() -> Result<> {
    leads = TRY(IsPortRedirected());
    return {};
  }));
  return leads;
}

Result<> KernelController::Rename(const std::string& container_id, const std::string& name) {
  std::shared_lock<std::shared_mutex> beside(operations_);
  std::shared_lock<std::shared_mutex> publishing(publishing_);
  for (Endpoint& endpoint : EndpointsOf(container_id)) {
    if (!endpoint.named || endpoint.names.empty()) continue;
    endpoint.names.front() = name;
    TRY(Remember(endpoint));
    if (IsShared(endpoint.network_id)) {
      TRY(options_.cluster->Claim(ShownToCluster(endpoint)));
    }
    auto call = [&] { return proxy_.CallAll({EndpointRequest(endpoint, true)}, {}); };
    auto replies = CallOrStart(call, &publishing);
    for (const auto& reply : TRY(std::move(replies))) TRY(Refused(reply));
  }
  return {};
}

Result<> KernelController::ReconcileNames(ReconcileReport* report) {
  std::map<std::string, Endpoint> wanted;
  std::set<std::string> containers;
  for (Endpoint& endpoint : ListEndpoints({})) {
    if (!endpoint.named) continue;
    containers.insert(endpoint.container_id);
    if (endpoint.names.empty()) continue;  // the proxy keeps none without a name
    std::string id = endpoint.id;
    wanted.emplace(std::move(id), std::move(endpoint));
  }
  for (Endpoint& endpoint : NamedElsewhere()) {
    std::string id = endpoint.id;
    wanted.emplace(std::move(id), std::move(endpoint));
  }
  if (!containers.empty()) {
    TRY(EnsureProxy());
  } else if (!proxy_.IsRunning()) {
    return {};
  }
  auto listed = proxy_.Call({ProxyOperation::kNames, "", {}});
  if (!listed.ok() && listed.error().kind() == ErrorKind::kUnavailable && proxy_.IsRunning()) {
    // One of an earlier version serves as long as there are no names.
    if (containers.empty()) return {};
    TRY(ReplaceProxy());
    listed = proxy_.Call({ProxyOperation::kNames, "", {}});
  }
  formats::ProxyReply known = TRY(std::move(listed));
  std::vector<formats::ProxyRequest> requests;
  for (const formats::ProxyEndpoint& endpoint : known.endpoints) {
    // What other hosts have the cluster may not have told yet.
    if (AwaitsCluster(endpoint.network)) continue;
    auto found = wanted.find(endpoint.owner);
    if (found == wanted.end()) {
      Endpoint gone;
      gone.id = endpoint.owner;
      requests.push_back(EndpointRequest(gone, false));
    } else if (endpoint == EndpointRequest(found->second, true).endpoint) {
      wanted.erase(found);
    }
  }
  for (const auto& [id, endpoint] : wanted) requests.push_back(EndpointRequest(endpoint, true));
  for (const formats::ProxyResolver& resolver : known.resolvers) {
    formats::ProxyRequest request = TRY(ResolverRequest(resolver.owner));
    if (!containers.contains(resolver.owner) || TRY(LeadsToResolver(resolver.owner))) {
      containers.erase(resolver.owner);
    }
    if (request.resolver != resolver) requests.push_back(std::move(request));
  }
  if (!requests.empty()) {
    for (const auto& reply : TRY(proxy_.CallAll(requests, {}))) TRY(Refused(reply));
    report->changes.push_back(fmt::format("{} names and resolvers made right", requests.size()));
  }
  for (const std::string& container : containers) {
    auto told = TellNames(container);
    report->changes.push_back(told.ok() ? fmt::format("resolver of '{}' opened again", container)
                                        : told.error().message());
  }
  return {};
}

}  // namespace gantry::networks
