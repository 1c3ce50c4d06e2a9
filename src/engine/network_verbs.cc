// SPDX-License-Identifier: Apache-2.0
//
// POST /networks/create, DELETE /networks/{}, POST /networks/prune: checks in docker's words, then
// networks::Controller, which writes the record before it touches the kernel.
#include <charconv>

#include "engine/engine.h"
#include "engine/network_list.h"

namespace gantry::engine {
namespace {

using formats::Ipv4Address;
using formats::Ipv4Prefix;

constexpr std::string_view kIcc = "com.docker.network.bridge.enable_icc";
constexpr std::string_view kMasquerade = "com.docker.network.bridge.enable_ip_masquerade";
constexpr std::string_view kBridgeName = "com.docker.network.bridge.name";
constexpr std::string_view kHostBinding = "com.docker.network.bridge.host_binding_ipv4";
constexpr std::string_view kMtu = "com.docker.network.driver.mtu";
constexpr std::string_view kOldMtu = "com.docker.network.mtu";
// What an interface name may have: IFNAMSIZ less the end.
constexpr size_t kMaxInterfaceName = 15;
constexpr int kMinMtu = 68;      // RFC 791
constexpr int kMaxMtu = 65'535;  // of a bridge

Error Forbidden(std::string message) {
  return Error(ErrorKind::kPermissionDenied, std::move(message));
}

// Go's strconv.ParseBool.
Result<bool> ParseFlag(std::string_view key, const std::string& text) {
  for (const char* yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return InvalidArgument(
      "failed to parse {} value: {} (strconv.ParseBool: parsing \"{}\": invalid syntax)", key, text,
      text);
}

Result<uint32_t> ParseMtu(std::string_view key, const std::string& text) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument(
        "failed to parse {} value: {} (strconv.Atoi: parsing \"{}\": invalid syntax)", key, text,
        text);
  }
  if (value != 0 && (value < kMinMtu || value > kMaxMtu)) {
    return InvalidArgument("invalid MTU number: {}", value);
  }
  return static_cast<uint32_t>(value);
}

Result<> ReadOptions(const std::map<std::string, std::string>& options,
                     networks::NetworkRequest* request) {
  for (const auto& [key, value] : options) {
    if (key == kIcc) {
      request->icc = TRY(ParseFlag(key, value));
    } else if (key == kMasquerade) {
      request->masquerade = TRY(ParseFlag(key, value));
    } else if (key == kMtu || key == kOldMtu) {
      request->mtu = TRY(ParseMtu(key, value));
    } else if (key == kBridgeName) {
      if (value.size() > kMaxInterfaceName || value == "." || value == ".." ||
          value.find_first_of("/: \t\n") != std::string::npos) {
        return InvalidArgument("invalid bridge name '{}': it must be an interface's name", value);
      }
      request->bridge = value;
    } else if (key == kHostBinding) {
      if (!Ipv4Address::Parse(value).ok()) {
        return InvalidArgument("failed to parse {} value: {} (nil ip)", key, value);
      }
      request->host_binding = value;
    }
  }
  request->options = options;
  return {};
}

// "10.1.1.5/24" is the subnet 10.1.1.0/24, as docker has it.
Result<Ipv4Prefix> ParseSubnet(const std::string& text) {
  size_t slash = std::min(text.find('/'), text.size());
  auto address = Ipv4Address::Parse(std::string_view(text).substr(0, slash));
  uint8_t length = 0;
  const char* begin = text.data() + std::min(slash + 1, text.size());
  auto [end, error] = std::from_chars(begin, text.data() + text.size(), length);
  if (!address.ok() || error != std::errc() || end != text.data() + text.size() || length > 32) {
    return InvalidArgument("Invalid subnet {} : invalid CIDR address: {}", text, text);
  }
  return Ipv4Prefix::Of(*address, length);
}

Result<> ReadPool(const networks::IpamConfig& config, networks::NetworkRequest* request) {
  if (request->subnet) {
    return InvalidArgument("bridge driver supports only one subnet of a family: {} and {}",
                           request->subnet->ToString(), config.subnet);
  }
  request->subnet = TRY(ParseSubnet(config.subnet));
  if (!config.ip_range.empty()) {
    auto range = ParseSubnet(config.ip_range);
    if (!range.ok()) return InvalidArgument("Invalid Address SubPool: {}", config.ip_range);
    request->ip_range = *range;
  }
  if (!config.gateway.empty()) {
    auto gateway = Ipv4Address::Parse(config.gateway);
    if (!gateway.ok()) {
      return InvalidArgument("invalid gateway address {} in Ipam configuration", config.gateway);
    }
    request->gateway = *gateway;
  }
  for (const auto& [name, text] : config.auxiliary) {
    auto address = Ipv4Address::Parse(text);
    if (!address.ok()) {
      return InvalidArgument("invalid auxiliary address {} in Ipam configuration", text);
    }
    request->auxiliary[name] = *address;
  }
  return {};
}

Result<> CheckNameAndDriver(const Engine::NetworkCreate& wanted) {
  if (wanted.name.find_first_not_of(" \t\n\r") == std::string::npos)
    return InvalidArgument("invalid name: {}", wanted.name);
  for (const char* name : {"bridge", "host", "none", "default"}) {
    if (wanted.name == name) {
      return Forbidden(fmt::format("operation is not permitted on predefined {} network ", name));
    }
  }
  const std::string& driver = wanted.driver;
  if (driver == "host" || driver == "null") {
    return Forbidden(fmt::format("only one instance of \"{}\" network is allowed", driver));
  }
  if (driver == "overlay" || wanted.scope == "swarm") {
    return Forbidden("cannot create a swarm scoped network when swarm is not active");
  }
  for (const char* known : {"macvlan", "ipvlan"}) {
    if (driver == known) return Unimplemented("network driver {} is not implemented", driver);
  }
  if (driver != "bridge" && !driver.empty()) return NotFound("plugin \"{}\" not found", driver);
  if (wanted.ingress) return Forbidden("Ingress network can only be global scope network");
  if (wanted.config_only || !wanted.config_from.empty()) {
    return Unimplemented("networks of configuration alone are not implemented");
  }
  if (wanted.ipam_driver != "default" && !wanted.ipam_driver.empty()) {
    return NotFound("plugin \"{}\" not found", wanted.ipam_driver);
  }
  if (wanted.enable_ipv6) return Unimplemented("IPv6 networks are not implemented");
  if (!wanted.enable_ipv4) {
    return InvalidArgument("IPv4 or IPv6 must be enabled for bridge networks");
  }
  return {};
}

}  // namespace

Result<networks::Network> Engine::CreateNetwork(const NetworkCreate& wanted) {
  TRY(CheckNameAndDriver(wanted));
  networks::NetworkRequest request;
  request.name = wanted.name;
  request.internal = wanted.internal;
  request.attachable = wanted.attachable;
  request.labels = wanted.labels;
  request.ipam = wanted.ipam;
  request.ipam_options = wanted.ipam_options;
  TRY(ReadOptions(wanted.options, &request));
  for (const networks::IpamConfig& config : wanted.ipam) {
    // Without IPv6 in the network its subnets are kept and not used, as docker does.
    if (config.subnet.find(':') != std::string::npos) continue;
    TRY(ReadPool(config, &request));
  }
  networks::Network network = TRY(networks_->CreateNetwork(request));
  PublishNetwork("create", network);
  return network;
}

Result<> Engine::RemoveNetwork(std::string_view reference) {
  networks::Network network = TRY(FindNetwork(*networks_, reference));
  if (!IsUserDefined(network)) {
    return Forbidden(
        fmt::format("{} is a pre-defined network and cannot be removed", network.name));
  }
  TRY(networks_->RemoveNetwork(network.id));
  PublishNetwork("destroy", network);
  return {};
}

Result<std::vector<std::string>> Engine::PruneNetworks(
    const std::function<bool(const networks::Network&)>& wanted) {
  std::vector<std::string> removed;
  for (const networks::Network& network : networks_->ListNetworks()) {
    if (!IsUserDefined(network) || !wanted(network)) continue;
    if (!networks_->ListEndpoints(network.id).empty()) continue;
    auto done = networks_->RemoveNetwork(network.id);
    // Somebody was faster: attached to it or removed it.
    bool raced = !done.ok() && (done.error().kind() == ErrorKind::kPermissionDenied ||
                                done.error().kind() == ErrorKind::kNotFound);
    if (raced) continue;
    TRY_WITH(std::move(done), "removing network {}", network.name);
    PublishNetwork("destroy", network);
    removed.push_back(network.name);
  }
  Event event;
  event.type = "network";
  event.action = "prune";
  event.attributes = {{"reclaimed", "0"}};
  Publish(std::move(event));
  return removed;
}

void Engine::PublishNetwork(std::string_view action, const networks::Network& network,
                            std::string_view container_id) {
  Event event;
  event.type = "network";
  event.action = action;
  event.actor_id = network.id;
  event.attributes = {{"name", network.name}, {"type", network.driver}};
  if (!container_id.empty()) event.attributes.emplace("container", container_id);
  Publish(std::move(event));
}

}  // namespace gantry::engine
