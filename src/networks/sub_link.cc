// SPDX-License-Identifier: Apache-2.0
//
// Networks of the drivers macvlan and ipvlan: containers' interfaces stand on one of the host's,
// the parent, and are members of its link, with MAC addresses of their own or with the parent's.
// There is no bridge, no firewall rule and nothing of an endpoint on the host: what is to be looked
// at or taken away is inside the container's namespace.
#include <charconv>

#include "kernel/rtnetlink.h"
#include "kernel/sub_links.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

constexpr uint16_t kMaxVlan = 4094;

struct VlanName {
  std::string parent;
  uint16_t id = 0;
};

// "eth0.10". In docker's words.
Result<VlanName> ParseVlanName(const std::string& name) {
  size_t dot = name.find('.');
  if (dot == std::string::npos) {
    return Internal("invalid subinterface vlan name {}, example formatting is eth0.10", name);
  }
  if (name.find('.', dot + 1) != std::string::npos) {
    return Internal(
        "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead "
        "received {}",
        name);
  }
  VlanName vlan{name.substr(0, dot)};
  int id = 0;
  const char* end = name.data() + name.size();
  auto [stop, error] = std::from_chars(name.data() + dot + 1, end, id);
  if (error != std::errc() || stop != end) {
    return Internal("unable to parse a valid vlan id from: {} (ex. eth0.10 for vlan 10)",
                    name.substr(dot + 1));
  }
  if (id < 1 || id > kMaxVlan) {
    return Internal("vlan id must be between 1-{}, received: {}", kMaxVlan, id);
  }
  vlan.id = static_cast<uint16_t>(id);
  return vlan;
}

kernel::MacvlanMode ModeOf(const Network& network) {
  if (network.parent_mode == "private") return kernel::MacvlanMode::kPrivate;
  if (network.parent_mode == "vepa") return kernel::MacvlanMode::kVepa;
  if (network.parent_mode == kPassthru) return kernel::MacvlanMode::kPassthru;
  return kernel::MacvlanMode::kBridge;
}

kernel::IpvlanMode LayerOf(const Network& network) {
  if (network.parent_layer == "l3") return kernel::IpvlanMode::kL3;
  if (network.parent_layer == "l3s") return kernel::IpvlanMode::kL3s;
  return kernel::IpvlanMode::kL2;
}

kernel::IpvlanFlag FlagOf(const Network& network) {
  if (network.parent_mode == "private") return kernel::IpvlanFlag::kPrivate;
  if (network.parent_mode == "vepa") return kernel::IpvlanFlag::kVepa;
  return kernel::IpvlanFlag::kBridge;
}

Result<bool> LinkExists(kernel::NetlinkSocket* socket, const std::string& name) {
  auto index = kernel::LinkIndex(*socket, name);
  if (index.ok()) return true;
  if (index.error().kind() == ErrorKind::kNotFound) return false;
  return std::move(index).error();
}

}  // namespace

// A parent in mode passthru belongs to one network, and so does one of ipvlan, whose interfaces all
// have the same mode.
Result<> KernelController::ChooseParent(Network* network) {
  for (const Network& other : ListNetworks()) {
    if (other.parent != network->parent) continue;
    network->parent_made |= other.parent_made;
    if (network->is_ipvlan() && other.is_ipvlan()) {
      return Internal("network {} is already using parent interface {}", DummyParent(other),
                      network->parent);
    }
    if (network->parent_mode == kPassthru) {
      return Internal(
          "cannot use mode passthru, macvlan network {} is already using parent interface {}",
          other.id, network->parent);
    }
    if (other.parent_mode == kPassthru) {
      return Internal("macvlan network {} is already using parent interface {} in mode passthru",
                      other.id, network->parent);
    }
  }
  auto socket = TRY(route_sockets_.Take());
  if (TRY(LinkExists(socket.get(), network->parent))) return {};
  network->parent_made = true;
  if (network->parent == DummyParent(*network)) return {};
  VlanName vlan = TRY(ParseVlanName(network->parent));
  if (!TRY(LinkExists(socket.get(), vlan.parent))) {
    return Internal("-o parent interface was not found on the host: {}", vlan.parent);
  }
  return {};
}

Result<> KernelController::EnsureParent(const Network& network) {
  auto socket = TRY(route_sockets_.Take());
  if (TRY(LinkExists(socket.get(), network.parent))) return {};
  if (!network.parent_made) {
    return NotFound("the requested parent interface {} was not found on the Docker host",
                    network.parent);
  }
  kernel::NetlinkBatch batch;
  if (network.parent != DummyParent(network)) {
    VlanName vlan = TRY(ParseVlanName(network.parent));
    kernel::AppendCreateVlan(&batch, network.parent,
                             TRY(kernel::LinkIndex(*socket.get(), vlan.parent)), vlan.id);
    TRY_WITH(socket.get()->Transact(&batch), "failed to create {} vlan link", network.parent);
    return {};
  }
  kernel::AppendCreateDummy(&batch, network.parent);
  auto made = socket.get()->Transact(&batch);
  if (made.ok() || made.error().error_number() != EOPNOTSUPP) return made;
  std::string peer = "dp-" + network.parent.substr(3);
  kernel::NetlinkBatch pair;
  kernel::AppendCreatePair(&pair, network.parent, peer);
  TRY_WITH(socket.get()->Transact(&pair), "making interface '{}'", network.parent);
  kernel::NetlinkBatch up;
  kernel::AppendLinkUp(&up, TRY(kernel::LinkIndex(*socket.get(), peer)));
  return socket.get()->Transact(&up);
}

// With the last network on it goes what was made for it.
Result<> KernelController::RemoveParent(const Network& network) {
  if (!network.parent_made) return {};
  for (const Network& other : ListNetworks()) {
    if (other.id != network.id && other.parent == network.parent) return {};
  }
  return DeleteLink(network.parent);
}

namespace {

// Until it is called as in the record: one that nothing on the host has.
std::string BirthName(const Endpoint& endpoint) {
  return fmt::format("sub{}", endpoint.id.substr(0, 12));
}

}  // namespace

Result<> KernelController::CreateSubLink(const Network& network, const Endpoint& endpoint,
                                         kernel::NetNamespace* netns) {
  auto socket = TRY(route_sockets_.Take());
  auto parent = kernel::LinkIndex(*socket.get(), network.parent);
  if (!parent.ok()) {
    return Internal("the requested parent interface {} was not found on the Docker host",
                    network.parent);
  }
  // One that a killed daemon has not come to rename.
  TRY(kernel::DeleteLink(&netns->route, BirthName(endpoint)));
  kernel::SubLinkSpec spec;
  spec.name = BirthName(endpoint);
  spec.parent = *parent;
  spec.netns = netns->fd;
  spec.mac = endpoint.mac.bytes;
  kernel::NetlinkBatch batch;
  if (network.is_ipvlan()) {
    kernel::AppendCreateIpvlan(&batch, spec, LayerOf(network), FlagOf(network));
  } else {
    kernel::AppendCreateMacvlan(&batch, spec, ModeOf(network));
  }
  auto made = socket.get()->Transact(&batch);
  if (!made.ok() && network.parent_mode == kPassthru && made.error().error_number() == EINVAL) {
    made.error().AddHint("a parent in mode passthru takes one container");
  }
  if (!made.ok() && made.error().error_number() == EBUSY) {
    made.error().AddHint(
        fmt::format("'{}' belongs to a bridge or has interfaces of another kind", network.parent));
  }
  if (!made.ok() && made.error().error_number() == EOPNOTSUPP) {
    made.error().AddHint(fmt::format("this kernel has no {}", network.driver));
  }
  TRY_WITH(std::move(made), "failed to create the {} port", network.driver);
  kernel::NetlinkBatch rename;
  kernel::AppendRenameLink(&rename, TRY(kernel::LinkIndex(netns->route, spec.name)),
                           endpoint.interface);
  TRY_WITH(netns->route.Transact(&rename), "naming the {} port '{}'", network.driver,
           endpoint.interface);
  return {};
}

// Who is on a network of this kind, on the host or inside.
Result<> KernelController::RemoveInterface(const Endpoint& endpoint) {
  if (endpoint.is_cni()) return DeleteByCni(endpoint);
  if (endpoint.is_plugin()) return DeleteByPlugin(endpoint);
  if (endpoint.has_host_link()) return DeleteLink(endpoint.host_link);
  auto entry = kernel::OpenNetNamespaceEntry(endpoint.netns_path);
  if (!entry.ok() && entry.error().kind() == ErrorKind::kNotFound) return {};
  UniqueFd fd = TRY(std::move(entry));
  kernel::NetNamespace netns = TRY(kernel::OpenNetNamespace(fd));
  TRY(kernel::DeleteLink(&netns.route, BirthName(endpoint)));
  return kernel::DeleteLink(&netns.route, endpoint.interface);
}

// It got its addresses, so it is whole.
Result<bool> KernelController::HasSubLink(const Endpoint& endpoint, BorrowedFd fd) {
  kernel::NetNamespace netns = TRY(kernel::OpenNetNamespace(fd));
  auto index = kernel::LinkIndex(netns.route, endpoint.interface);
  if (!index.ok() && index.error().kind() == ErrorKind::kNotFound) return false;
  int wanted = TRY(std::move(index));
  // Of a CNI configuration without addresses.
  if (!endpoint.has_ipv4() && !endpoint.address6) return true;
  for (const kernel::LinkAddress& item : TRY(kernel::ListAddresses(&netns.route))) {
    if (item.index == wanted && ntohl(item.address.s_addr) == endpoint.address.value) return true;
  }
  for (const kernel::LinkAddress6& item : TRY(kernel::ListAddresses6(&netns.route))) {
    if (item.index == wanted && AddressOf6(item.address) == endpoint.address6) return true;
  }
  return false;
}

}  // namespace gantry::networks
