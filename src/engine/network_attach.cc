// SPDX-License-Identifier: Apache-2.0
//
// A container's networks: what its record wants (`networking.endpoints_config`, by name) and what
// networks::Controller has for it while it runs.
//
//   create      the record gets its networks (SettleNetworks)
//   start       an endpoint for each of them, that of NetworkMode first (AttachNetworks)
//   connect     not running: the record alone; running: the record, then the endpoint
//   disconnect  the same way back
//   exit        all endpoints go, the record stays (DetachNetworks)
//
// The record comes first: after a crash between the two ReconcileAttachments makes the endpoints of
// a running container what the record says.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>

#include <algorithm>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/host_files.h"
#include "engine/links.h"
#include "engine/namespace_modes.h"
#include "engine/net_rates.h"
#include "engine/network_list.h"
#include "engine/port_bindings.h"
#include "engine/store.h"
#include "kernel/net_namespace.h"

namespace gantry::engine {
namespace {

Error SharesNamespace() {
  return FailedPrecondition(
      "container sharing network namespace with another container or host cannot be connected to "
      "any other network");
}

Error MixesNone() {
  return FailedPrecondition(
      "container cannot be connected to multiple networks with one of the networks in private "
      "(none) mode");
}

Error HostModeAndLinks() {
  return InvalidArgument(
      "conflicting options: host type networking can't be used with links. This would result in "
      "undefined behavior");
}

Error NotConnected(const std::string& id, const std::string& network, bool alive) {
  return Internal("container {} is not connected to {}network {}", id, alive ? "" : "the ",
                  network);
}

Result<> CheckAddress(const std::string& text, int family, std::string_view what) {
  unsigned char parsed[sizeof(in6_addr)];
  if (text.empty() || ::inet_pton(family, text.c_str(), parsed) == 1) return {};
  return InvalidArgument("invalid {} address: {}", what, text);
}

// "net.ipv4.conf.IFNAME.log_martians=1,…"; the command line makes small letters of the placeholder.
Result<std::vector<std::string>> InterfaceSysctls(const EndpointConfig& config) {
  auto given = config.driver_opts.find("com.docker.network.endpoint.sysctls");
  if (given == config.driver_opts.end()) return std::vector<std::string>{};
  std::vector<std::string> sysctls = Split(given->second, ',');
  for (const std::string& sysctl : sysctls) {
    std::vector<std::string> parts = Split(sysctl.substr(0, sysctl.find('=')), '.');
    bool known = parts.size() == 5 && parts[0] == "net" &&
                 (parts[1] == "ipv4" || parts[1] == "ipv6" || parts[1] == "mpls") &&
                 (parts[3] == "IFNAME" || parts[3] == "ifname");
    bool plain = known && parts[2].find('/') == std::string::npos &&
                 parts[4].find('/') == std::string::npos && sysctl.find('=') != std::string::npos;
    if (plain) continue;
    return InvalidArgument(
        "unrecognised network interface sysctl '{}'; represent 'net.X.Y.ethN.Z=V' as "
        "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'",
        sysctl);
  }
  return sysctls;
}

// docker's: nobody can reach an address of IPv6 where sysctls of the container or of its interface
// turn that off.
bool HasIpv6(const HostConfig& host, const std::vector<std::string>& interface_sysctls) {
  if (HasIpv6Off(host)) return false;
  return std::none_of(interface_sysctls.begin(), interface_sysctls.end(), [](const auto& sysctl) {
    return sysctl == "net.ipv6.conf.IFNAME.disable_ipv6=1" ||
           sysctl == "net.ipv6.conf.ifname.disable_ipv6=1";
  });
}

// "" when it is not asked for.
Result<std::string> InterfaceName(const EndpointConfig& config) {
  auto given = config.driver_opts.find("com.docker.network.endpoint.ifname");
  if (given == config.driver_opts.end()) return std::string();
  const std::string& name = given->second;
  bool fine = !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
              name != "lo" && name.find_first_of("/: \t\n%") == std::string::npos;
  if (!fine) return InvalidArgument("invalid interface name: {}", name);
  return name;
}

Result<> CheckSyntax(const EndpointConfig& config) {
  if (config.ipam_config) {
    TRY(CheckAddress(config.ipam_config->ipv4_address, AF_INET, "IPv4"));
    TRY(CheckAddress(config.ipam_config->ipv6_address, AF_INET6, "IPv6"));
    for (const std::string& address : config.ipam_config->link_local) {
      int family = address.find(':') == std::string::npos ? AF_INET : AF_INET6;
      if (address.empty()) return InvalidArgument("invalid link-local IP address: ");
      TRY(CheckAddress(address, family, "link-local IP"));
    }
  }
  TRY(InterfaceSysctls(config));
  TRY(InterfaceName(config));
  if (!config.mac_address.empty()) TRY(formats::MacAddress::Parse(config.mac_address));
  return {};
}

// What only some networks can give.
Result<> CheckAgainst(const networks::Network& network, const EndpointConfig& config) {
  bool addressed = config.ipam_config && !(config.ipam_config->ipv4_address.empty() &&
                                           config.ipam_config->ipv6_address.empty());
  if (!IsUserDefined(network)) {
    if (addressed) {
      return InvalidArgument(
          "user specified IP address is supported on user defined networks only");
    }
    if (!config.aliases.empty()) {
      return InvalidArgument(
          "network-scoped alias is supported only for containers in user defined networks");
    }
    return {};
  }
  if (!addressed) return {};
  // Its plugins know.
  if (network.is_cni()) return {};
  for (const std::string& address :
       {config.ipam_config->ipv4_address, config.ipam_config->ipv6_address}) {
    if (address.empty()) continue;
    bool ipv6 = address.find(':') != std::string::npos;
    if (ipv6 ? !network.subnet6 : !network.has_ipv4()) {
      return InvalidArgument("no configured subnet contains IP address {}", address);
    }
  }
  return {};
}

// The one that NetworkMode names, maybe by its id.
bool IsFirst(const networks::Controller& controller, const HostConfig& host,
             const networks::Network& network) {
  auto first = FindNetwork(controller, NetworkName(host));
  return first.ok() && first->id == network.id;
}

// Another network may lead now, of another mode than the former, whose ports it took over.
Result<> FitPorts(networks::Controller& controller, const ContainerRecord& record,
                  const std::string& default_ip) {
  auto ports = TRY(ParsePortBindings(record.config, record.host));
  auto set = controller.SetPorts(record.id, ports, default_ip);
  // On internal networks alone nothing is published.
  if (set.ok() || set.error().kind() == ErrorKind::kFailedPrecondition) return {};
  return std::move(set).error();
}

// A user's network that was made anew under its name is another one.
std::string ReferenceOf(const std::string& name, const EndpointConfig& config) {
  return config.network_id.empty() ? name : config.network_id;
}

}  // namespace

Result<> Engine::SettleNetworks(ContainerRecord* record) const {
  record->networking.settled = true;
  auto& wanted = record->networking.endpoints_config;
  if (JoinsContainer(record->host) || record->config.network_disabled) {
    wanted.clear();
    return {};
  }
  std::map<std::string, EndpointConfig> settled;
  std::string mode = NetworkName(record->host);
  if (wanted.empty()) wanted[mode] = {};
  bool special = false;
  for (auto& [key, config] : wanted) {
    TRY(CheckSyntax(config));
    // One that is not there is an error of the start, as docker has it.
    auto network = FindNetwork(*networks_, key);
    if (!network.ok() && network.error().kind() != ErrorKind::kNotFound) return network.error();
    // The daemon has no default network (--bridge none).
    if (!network.ok() && key == "bridge") {
      record->config.network_disabled = true;
      wanted.clear();
      return {};
    }
    special |= network.ok() && IsSpecial(*network);
    settled[network.ok() ? network->name : key] = std::move(config);
  }
  if (settled.size() > 1 && special) {
    return InvalidArgument(
        "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
  }
  bool mac = !record->config.mac_address.empty();
  if (mac && mode == "host") {
    return InvalidArgument("conflicting options: mac-address and the network mode");
  }
  if (mac) TRY(formats::MacAddress::Parse(record->config.mac_address));
  wanted = std::move(settled);
  return {};
}

bool Engine::WantsNetworks(const ContainerRecord& record) {
  const auto& wanted = record.networking.endpoints_config;
  return std::any_of(wanted.begin(), wanted.end(), [](const auto& entry) {
    return entry.first != "host" && entry.first != "none";
  });
}

Result<networks::AttachRequest> Engine::MakeAttachRequest(const ContainerRecord& record,
                                                          const networks::Network& network,
                                                          const EndpointConfig& config) const {
  TRY(CheckSyntax(config));
  TRY(CheckAgainst(network, config));
  networks::AttachRequest request;
  request.container_id = record.id;
  request.network = network.id;
  request.hostname = record.hostname;
  request.gateway_priority = config.gateway_priority;
  request.rates = RatesOf(record.host);
  request.ports = TRY(ParsePortBindings(record.config, record.host));
  request.default_ip = settings()->port_address;
  request.names = AliasesOf(record, config);
  request.names.insert(request.names.begin(), record.name);
  request.dns = record.host.dns;
  for (const std::string& link : config.links) {
    auto [name, alias] = ParseLink(link);
    request.links[alias] = name;
  }
  if (network.is_default && !network.icc) {
    request.reaches = LinkedIds(record);
    request.exposes = ExposedPorts(record);
  }
  if (config.ipam_config && !config.ipam_config->ipv4_address.empty()) {
    request.address = TRY(formats::Ipv4Address::Parse(config.ipam_config->ipv4_address));
  }
  if (config.ipam_config && !config.ipam_config->ipv6_address.empty()) {
    request.address6 = TRY(formats::Ipv6Address::Parse(config.ipam_config->ipv6_address));
  }
  if (config.ipam_config) request.link_local = config.ipam_config->link_local;
  request.driver_options = config.driver_opts;
  request.sysctls = TRY(InterfaceSysctls(config));
  request.ipv6 = HasIpv6(record.host, request.sysctls);
  request.interface = TRY(InterfaceName(config));
  std::string mac = config.mac_address;
  // The container's own is that of its first network.
  if (mac.empty() && IsFirst(*networks_, record.host, network)) mac = record.config.mac_address;
  if (!mac.empty()) request.mac = TRY(formats::MacAddress::Parse(mac));
  return request;
}

Result<Engine::Attached> Engine::AttachNetworks(const ContainerRecord& record, UniqueFd netns) {
  std::vector<const std::pair<const std::string, EndpointConfig>*> order;
  for (const auto& entry : record.networking.endpoints_config) order.push_back(&entry);
  std::string first = NetworkName(record.host);
  std::stable_partition(order.begin(), order.end(),
                        [&](const auto* entry) { return entry->first == first; });
  Attached attached;
  ActionTimer all(action_times_, "network allocate");
  for (const auto* entry : order) {
    const auto& [name, config] = *entry;
    ActionTimer one(action_times_, "network connect");
    networks::Network network = TRY(FindNetwork(*networks_, ReferenceOf(name, config)));
    if (IsSpecial(network)) {
      TRY(CheckAgainst(network, config));
    } else {
      networks::AttachRequest request = TRY(MakeAttachRequest(record, network, config));
      auto made =
          netns.valid() ? networks_->AttachToExisting(request, netns) : networks_->Attach(request);
      attached.endpoints.push_back(
          TRY_WITH(std::move(made), "failed to set up container networking"));
      bool more = attached.endpoints.size() < order.size();
      if (!netns.valid() && more) {
        netns = TRY(kernel::OpenNetNamespaceEntry(attached.endpoints.back().netns_path));
      }
    }
    if (IsUserDefined(network)) attached.network_ids[name] = network.id;
    PublishNetwork("connect", network, record.id);
    one.Done();
  }
  if (attached.endpoints.size() > 1) TRY(FitPorts(*networks_, record, settings()->port_address));
  all.Done();
  return attached;
}

std::vector<networks::Network> Engine::ConnectedNetworks(const ContainerRecord& record) const {
  std::vector<networks::Network> out;
  for (const networks::Endpoint& endpoint : networks_->EndpointsOf(record.id)) {
    auto network = networks_->InspectNetwork(endpoint.network_id);
    if (network.ok()) out.push_back(*std::move(network));
  }
  for (const auto& [name, config] : record.networking.endpoints_config) {
    auto network = FindNetwork(*networks_, name);
    if (network.ok() && IsSpecial(*network)) out.push_back(*std::move(network));
  }
  return out;
}

std::vector<networks::Network> Engine::RecordedNetworks(const ContainerRecord& record) const {
  std::vector<networks::Network> out;
  for (const auto& [name, config] : record.networking.endpoints_config) {
    auto network = FindNetwork(*networks_, ReferenceOf(name, config));
    if (network.ok()) out.push_back(*std::move(network));
  }
  return out;
}

std::vector<networks::Network> Engine::DetachNetworks(const ContainerRecord& record) {
  ActionTimer timer(action_times_, "network release");
  std::vector<networks::Network> left = ConnectedNetworks(record);
  Result<> detached = networks_->Detach(record.id);
  if (!detached.ok()) log::Warning("container {}: {}", record.id, detached.error().message());
  if (detached.ok()) timer.Done();
  return left;
}

// Its entry, or the namespace of its process: one that began without networks has no entry.
Result<UniqueFd> Engine::OpenContainerNamespace(const ContainerRecord& record) {
  auto entry = kernel::OpenNetNamespaceEntry(NetworkNamespacePath(record.id));
  if (entry.ok()) return entry;
  UniqueFd fd = TRY(OpenFile(fmt::format("/proc/{}/ns/net", record.state.pid), O_RDONLY));
  // Still its process, so the number was not given to another one before.
  client::TaskState task = TRY(containerd_->GetTask(record.id, ""));
  if (task.pid != record.state.pid || task.status == client::TaskStatus::kStopped) {
    return FailedPrecondition("container {} is not running", record.id);
  }
  return fd;
}

Result<> Engine::CheckConnect(const ContainerRecord& record, const networks::Network& network,
                              const EndpointConfig& config) const {
  if (record.state.phase == Phase::kRemoving || record.state.phase == Phase::kDead) {
    return MakeError(ErrorKind::kAborted,
                     "container {} is marked for removal and cannot be connected or disconnected "
                     "from the network",
                     record.id);
  }
  if (network.name == "host") {
    return FailedPrecondition(
        "container cannot be disconnected from host network or connected to host network");
  }
  const auto& wanted = record.networking.endpoints_config;
  if (JoinsContainer(record.host) || wanted.contains("host")) return SharesNamespace();
  bool others = std::any_of(wanted.begin(), wanted.end(),
                            [&](const auto& entry) { return entry.first != network.name; });
  if (wanted.contains("none") ? network.name != "none" : network.name == "none" && others) {
    return MixesNone();
  }
  TRY(CheckAgainst(network, config));
  if (!record.state.IsAlive()) return {};
  return CheckSyntax(config);
}

Result<> Engine::ConnectNetwork(std::string_view network_reference, std::string_view reference,
                                EndpointConfig config) {
  if (reference.empty()) return InvalidArgument("invalid name or ID supplied: \"\"");
  auto container = TRY(Find(reference));
  networks::Network network = TRY(FindNetwork(*networks_, network_reference));
  auto turn = TRY(container->TakeTurn());
  Container::RecordPointer before = container->record();
  TRY(CheckConnect(*before, network, config));
  bool alive = before->state.IsAlive();
  if (alive) {
    for (const networks::Endpoint& endpoint : networks_->EndpointsOf(before->id)) {
      if (endpoint.network_id != network.id) continue;
      return MakeError(ErrorKind::kPermissionDenied,
                       "endpoint with name {} already exists in network {}", before->name,
                       network.name);
    }
  }
  if (alive && IsUserDefined(network)) config.network_id = network.id;
  container->Update([&](ContainerRecord& record) {
    record.networking.endpoints_config[network.name] = std::move(config);
  });
  Event event = NetworkEvent("connect", network, before->id);
  Result<> done = Save(*container, alive ? &event : nullptr);
  if (done.ok() && alive && !IsSpecial(network)) {
    done = AttachRunning(*container->record(), network);
  }
  if (!done.ok()) {
    store_->untold().Done(event);
    container->Update([&](ContainerRecord& record) { record.networking = before->networking; });
    Result<> restored = Save(*container);
    if (!restored.ok()) log::Failure("container {}: {}", before->id, restored.error().message());
    return done;
  }
  if (alive) Publish(std::move(event));
  return {};
}

Result<> Engine::AttachRunning(const ContainerRecord& record, const networks::Network& network) {
  const EndpointConfig& config = record.networking.endpoints_config.at(network.name);
  UniqueFd netns = TRY(OpenContainerNamespace(record));
  TRY(networks_->AttachToExisting(TRY(MakeAttachRequest(record, network, config)), netns));
  // The network is joined, whatever becomes of ports.
  auto fitted = FitPorts(*networks_, record, settings()->port_address);
  if (!fitted.ok()) log::Warning("container {}: {}", record.id, fitted.error().message());
  return UpdateHostFiles(record);
}

Result<> Engine::DisconnectNetwork(std::string_view network_reference, std::string_view reference) {
  auto container = TRY(Find(reference));
  auto found = FindNetwork(*networks_, network_reference);
  auto turn = TRY(container->TakeTurn());
  Container::RecordPointer before = container->record();
  bool alive = before->state.IsAlive();
  if (!found.ok() && !alive) {
    // It is gone, and what the container keeps of it would be in the way of its next start.
    std::string name(network_reference);
    if (!before->networking.endpoints_config.contains(name)) {
      return NotConnected(before->id, name, alive);
    }
    container->Update(
        [&](ContainerRecord& record) { record.networking.endpoints_config.erase(name); });
    return Save(*container);
  }
  networks::Network network = TRY(std::move(found));
  bool wanted = before->networking.endpoints_config.contains(network.name);
  if (!wanted) return NotConnected(before->id, network.name, alive);
  if (alive && network.name == "host") {
    return FailedPrecondition(
        "container cannot be disconnected from host network or connected to host network");
  }
  container->Update(
      [&](ContainerRecord& record) { record.networking.endpoints_config.erase(network.name); });
  Event event = NetworkEvent("disconnect", network, before->id);
  TRY(Save(*container, alive ? &event : nullptr));
  if (!alive) return {};
  if (!IsSpecial(network)) {
    Result<> taken_off = networks_->Disconnect(before->id, network.id);
    // The record was ahead of it.
    if (!taken_off.ok() && taken_off.error().kind() != ErrorKind::kNotFound) return taken_off;
    auto fitted = FitPorts(*networks_, *container->record(), settings()->port_address);
    if (!fitted.ok()) log::Warning("container {}: {}", before->id, fitted.error().message());
    TRY(UpdateHostFiles(*container->record()));
  }
  Publish(std::move(event));
  return {};
}

Result<std::vector<LinkedContainer>> Engine::LinksOf(const ContainerRecord& record) const {
  std::vector<LinkedContainer> links;
  // Who is not on the default network has no use of them.
  if (!record.networking.endpoints_config.contains("bridge") || IsOnUsersNetwork(record)) {
    return links;
  }
  for (const std::string& text : record.host.links) {
    auto [name, alias] = ParseLink(text);
    LinkedContainer link{alias, TRY(NetworkOwner(name)), {}};
    if (!link.record->state.IsAlive()) {
      return MakeError(ErrorKind::kAborted, "Cannot link to a non running container: /{} AS /{}/{}",
                       link.record->name, record.name, alias);
    }
    std::vector<networks::Endpoint> endpoints = networks_->EndpointsOf(link.record->id);
    auto bridge = std::find_if(endpoints.begin(), endpoints.end(),
                               [](const auto& endpoint) { return !endpoint.named; });
    if (bridge == endpoints.end()) {
      return FailedPrecondition("Cannot link to /{}, as it does not belong to the default network",
                                link.record->name);
    }
    link.endpoint = *bridge;
    links.push_back(std::move(link));
  }
  return links;
}

bool Engine::IsOnUsersNetwork(const ContainerRecord& record) const {
  auto network = FindNetwork(*networks_, NetworkName(record.host));
  return network.ok() && IsUserDefined(*network);
}

// The container itself, or the one whose network it has.
Result<Container::RecordPointer> Engine::NetworkOwner(std::string_view reference) const {
  constexpr int kLongestChain = 64;  // of removed and renamed ones a circle can be made
  Container::RecordPointer record = TRY(Find(reference))->record();
  for (int i = 0; i < kLongestChain && JoinsContainer(record->host); ++i) {
    record = TRY(Find(ContainerOfMode(record->host.network_mode)))->record();
  }
  return record;
}

std::vector<std::string> Engine::LinkedIds(const ContainerRecord& record) const {
  std::vector<std::string> ids;
  for (const std::string& link : record.host.links) {
    auto other = NetworkOwner(ParseLink(link).first);
    if (other.ok()) ids.push_back((*other)->id);
  }
  return ids;
}

Result<> Engine::CheckLinks(const ContainerRecord& record) const {
  if (record.host.links.empty()) return {};
  // Among users' networks links are names, of containers that may still come.
  if (IsOnUsersNetwork(record)) return {};
  if (JoinsContainer(record.host)) {
    return InvalidArgument(
        "conflicting options: container type network can't be used with links. This would result "
        "in undefined behavior");
  }
  if (record.host.network_mode == "host") return HostModeAndLinks();
  for (const std::string& text : record.host.links) {
    auto [name, alias] = ParseLink(text);
    if (name.empty() || alias.empty()) {
      return InvalidArgument("bad format for links: {}", text);
    }
    auto found = NetworkOwner(name);
    if (!found.ok()) {
      // The request is wrong, not its address: clients pull an image when create says "not found".
      return InvalidArgument("could not get container for {}: {}", name, found.error().message());
    }
    if ((*found)->networking.endpoints_config.contains("host")) return HostModeAndLinks();
  }
  return {};
}

// The container runs, with another address than before: those that are linked to it.
void Engine::TellLinkedFrom(const ContainerRecord& record) {
  if (!any_links_) return;
  for (const std::shared_ptr<Container>& container : All()) {
    Container::RecordPointer other = container->record();
    bool linked = std::any_of(other->host.links.begin(), other->host.links.end(),
                              [&](const std::string& text) {
                                auto found = Find(ParseLink(text).first);
                                return found.ok() && (*found)->id() == record.id;
                              });
    if (!linked || !other->state.IsAlive()) continue;
    Result<> told = UpdateHostFiles(*other);
    if (!told.ok()) log::Warning("container {}: {}", other->id, told.error().message());
  }
}

Result<HostFilesRequest> Engine::HostFilesOf(const ContainerRecord& record) const {
  HostFilesRequest files;
  files.directory = ContainerDirectory(record.id);
  files.config = &record.config;
  files.host = &record.host;
  files.hostname = record.hostname;
  files.endpoints = networks_->EndpointsOf(record.id);
  files.links = TRY(LinksOf(record));
  files.gateways = settings()->host_gateways;
  if (!files.gateways.empty()) return files;
  auto bridge = networks_->InspectNetwork("bridge");
  if (!bridge.ok()) return files;
  files.gateways.push_back(bridge->gateway.ToString());
  if (bridge->gateway6) files.gateways.push_back(bridge->gateway6->ToString());
  return files;
}

Result<> Engine::UpdateHostFiles(const ContainerRecord& record) {
  auto files = HostFilesOf(record);
  // The line of one that has ended stays until it runs again.
  if (!files.ok() && files.error().kind() == ErrorKind::kAborted) return {};
  return ChangeHostFiles(TRY(std::move(files)));
}

Result<> Engine::LinkBareNamespace(const ContainerRecord& record, uint32_t pid) {
  if (options_.networks.netns_links.empty() || WantsNetworks(record)) return {};
  if (JoinsContainer(record.host) || record.host.network_mode == "host") return {};
  UniqueFd netns = TRY(OpenFile(fmt::format("/proc/{}/ns/net", pid), O_RDONLY));
  return networks_->LinkNamespace(record.id, netns);
}

void Engine::ReconcileAttachments(const ContainerRecord& record) {
  const auto& wanted = record.networking.endpoints_config;
  auto note = [&](Result<> result) {
    if (!result.ok()) log::Failure("container {}: {}", record.id, result.error().message());
  };
  note(LinkBareNamespace(record, record.state.pid));
  std::vector<std::string> present;
  for (const networks::Endpoint& endpoint : networks_->EndpointsOf(record.id)) {
    if (endpoint.implicit) continue;
    if (wanted.contains(endpoint.network_name)) {
      present.push_back(endpoint.network_id);
    } else {
      note(networks_->Disconnect(record.id, endpoint.network_id));
    }
  }
  for (const auto& [name, config] : wanted) {
    auto network = FindNetwork(*networks_, ReferenceOf(name, config));
    if (!network.ok() || IsSpecial(*network)) continue;
    if (std::find(present.begin(), present.end(), network->id) != present.end()) continue;
    note(AttachRunning(record, *network));
  }
  if (networks_->EndpointsOf(record.id).empty()) return;
  note(networks_->SetRates(record.id, RatesOf(record.host)));
  note(FitPorts(*networks_, record, settings()->port_address));
}

std::vector<std::string> Engine::AliasesOf(const ContainerRecord& record,
                                           const EndpointConfig& config) {
  std::vector<std::string> out = config.aliases;
  out.push_back(ShortId(record.id));
  const std::string& hostname = record.config.hostname;
  bool known = hostname.empty() || hostname == record.name ||
               std::find(out.begin(), out.end(), hostname) != out.end();
  if (!known) out.push_back(hostname);
  return out;
}

}  // namespace gantry::engine
