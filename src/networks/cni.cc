// SPDX-License-Identifier: Apache-2.0
//
// Networks of the driver cni: interfaces and addresses are the matter of plugins, which a CNI
// configuration names (cni_config.h, cni_plugins.h). The engine gives them the namespace, keeps
// their result with the endpoint's record, and goes on from there as with its own: names, default
// routes of several networks.
//
// The record comes before ADD and goes after DEL, so that a crash in between ends in another DEL.
#include "base/log.h"
#include "kernel/rtnetlink.h"
#include "networks/cni_plugins.h"
#include "networks/controller.h"

namespace gantry::networks {

using formats::Json;

namespace {

Result<CniAttachment> AttachmentOf(const Network& network, const Endpoint& endpoint) {
  CniAttachment attachment;
  attachment.config = TRY(ParseCniConfig(network.cni_config));
  attachment.path = network.cni_path;
  attachment.container_id = endpoint.container_id;
  attachment.interface = endpoint.interface;
  attachment.netns = endpoint.netns_path;
  attachment.runtime = TRY(Json::Parse(endpoint.cni_runtime));
  // The older way; said both ways an address would be asked for twice.
  if (attachment.config.Takes("ips")) return attachment;
  for (const Json& address : attachment.runtime["ips"].items()) {
    attachment.arguments.push_back("IP=" + address.AsString());
  }
  return attachment;
}

Result<Json> ResultOf(const Endpoint& endpoint) {
  return endpoint.cni_result.empty() ? Json() : Json::Parse(endpoint.cni_result);
}

// A port of the host for each; what one is free only the plugin could know.
Result<std::vector<PublishedPort>> PortsFor(const std::vector<PortRequest>& wanted) {
  std::vector<PublishedPort> ports;
  for (const PortRequest& port : wanted) {
    bool one = port.host_port_last == 0 || port.host_port_last == port.host_port_first;
    if (port.host_port_first == 0 || !one) {
      return InvalidArgument(
          "port {}/{}: a network of the driver cni publishes ports whose host port is said",
          port.container_port, ProtocolName(port.protocol));
    }
    // As docker shows it.
    ports.push_back({port.host_ip.empty() ? "0.0.0.0" : port.host_ip, port.host_port_first,
                     port.container_port, port.protocol});
  }
  return ports;
}

// What the plugin could not, or did not, do.
Result<> CheckWanted(const Json& runtime, const Endpoint& endpoint) {
  for (const Json& wanted : runtime["ips"].items()) {
    const std::string& address = wanted.AsString();
    bool has = (endpoint.has_ipv4() && endpoint.address.ToString() == address) ||
               (endpoint.address6 && endpoint.address6->ToString() == address);
    if (has) continue;
    return FailedPrecondition("the plugins of network {} did not give the address {}",
                              endpoint.network_name, address);
  }
  return {};
}

}  // namespace

Result<> KernelController::ChooseCni(const NetworkRequest& request, Network* network) {
  CniConfig config = TRY(ParseCniConfig(request.cni_config));
  TRY(CheckCniPlugins(config, request.cni_path));
  network->cni_config = request.cni_config;
  network->cni_path = request.cni_path;
  return {};
}

// In memory: what its plugins will be told.
Result<> KernelController::PlanCni(const AttachRequest& request, const Network& network,
                                   Endpoint* endpoint) const {
  CniConfig config = TRY(ParseCniConfig(network.cni_config));
  if (!request.sysctls.empty() || !request.link_local.empty()) {
    return InvalidArgument(
        "network {} is of the driver cni, whose plugins know of no link-local addresses and no "
        "sysctls",
        network.name);
  }
  // On a bridge, too, ports are published there.
  bool publishes = config.Takes("portMappings") && !LeaderOf(request.container_id);
  for (const Endpoint& other : EndpointsOf(request.container_id)) {
    publishes &= other.cni_ports.empty();
  }
  if (publishes) {
    std::vector<PortRequest> ports = request.ports;
    PlacePorts(network, request.default_ip, &ports);
    endpoint->cni_ports = TRY(PortsFor(ports));
  }
  std::vector<std::string> addresses;
  if (request.address) addresses.push_back(request.address->ToString());
  if (request.address6) addresses.push_back(request.address6->ToString());
  endpoint->cni_runtime =
      CniRuntime(request.names, endpoint->cni_ports, request.mac, addresses).Dump();
  return {};
}

Result<> KernelController::AddByCni(Endpoint* endpoint, kernel::NetNamespace* netns) {
  Network network = TRY(InspectNetwork(endpoint->network_id));
  CniAttachment attachment = TRY(AttachmentOf(network, *endpoint));
  Json result = TRY_WITH(CniAdd(attachment), "attaching to network {}", endpoint->network_name);
  // Whatever is wrong with it: DEL is told so.
  endpoint->cni_result = result.Dump();
  TRY(ReadCniResult(result, endpoint));
  TRY(CheckWanted(attachment.runtime, *endpoint));
  TRY(Remember(*endpoint));
  if (endpoint->rates.limited()) TRY(LimitLink(*endpoint, netns));
  if (EndpointsOf(endpoint->container_id).size() < 2) return {};
  // Of several networks one leads out, and plugins don't know of the others.
  int index = TRY(kernel::LinkIndex(netns->route, endpoint->interface));
  TRY_WITH(kernel::DeleteDefaultRoutes(&netns->route, index), "taking default routes off '{}'",
           endpoint->interface);
  return SetDefaultRoutes(endpoint->container_id);
}

Result<> KernelController::DeleteByCni(const Endpoint& endpoint) {
  Network network = TRY(InspectNetwork(endpoint.network_id));
  CniAttachment attachment = TRY(AttachmentOf(network, endpoint));
  auto entry = kernel::OpenNetNamespaceEntry(endpoint.netns_path);
  if (!entry.ok()) attachment.netns.clear();
  TRY_WITH(CniDelete(attachment, TRY(ResultOf(endpoint))), "detaching container '{}' from {}",
           endpoint.container_id, endpoint.network_name);
  return {};
}

// It has its address. What else its plugins miss is said and left alone: to make it again cuts a
// running container's connections, and the CHECK of some plugins fails without reason (portmap
// 1.1.1 looks for rules of IPv6 where there is no such address).
Result<bool> KernelController::HasCniLink(const Endpoint& endpoint, BorrowedFd netns) {
  if (endpoint.cni_result.empty() || !TRY(HasSubLink(endpoint, netns))) return false;
  Network network = TRY(InspectNetwork(endpoint.network_id));
  auto checked = CniCheck(TRY(AttachmentOf(network, endpoint)), TRY(ResultOf(endpoint)));
  if (!checked.ok()) {
    log::Warning("container '{}', network {}: {}", endpoint.container_id, network.name,
                 checked.error().message());
  }
  return true;
}

// Its plugins forget what no record names. Networks may share a configuration's name, and so what
// plugins keep.
Result<> KernelController::CollectCni(ReconcileReport* report) {
  std::map<std::string, std::vector<CniKnown>> known;
  std::map<std::string, std::pair<CniConfig, std::vector<std::string>>> configs;
  for (const Network& network : ListNetworks()) {
    if (network.cni_config.empty()) continue;
    CniConfig config = TRY(ParseCniConfig(network.cni_config));
    for (const Endpoint& endpoint : ListEndpoints(network.id)) {
      known[config.name].push_back({endpoint.container_id, endpoint.interface});
    }
    configs[config.name] = {config, network.cni_path};
  }
  for (const auto& [name, config] : configs) {
    auto collected = CniCollect(config.first, config.second, known[name]);
    if (!collected.ok()) report->changes.push_back(collected.error().message());
  }
  return {};
}

}  // namespace gantry::networks
