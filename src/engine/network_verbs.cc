// SPDX-License-Identifier: Apache-2.0
//
// POST /networks/create, DELETE /networks/{}, POST /networks/prune: checks in docker's words, then
// networks::Controller, which writes the record before it touches the kernel.
#include <algorithm>
#include <iterator>
#include <string_view>

#include "engine/engine.h"
#include "engine/network_list.h"
#include "engine/network_options.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr const char* kEnableIpv4 = "com.docker.network.enable_ipv4";
constexpr const char* kEnableIpv6 = "com.docker.network.enable_ipv6";

Error Forbidden(std::string message) {
  return Error(ErrorKind::kPermissionDenied, std::move(message));
}

Result<> CheckNameAndDriver(const Engine::NetworkCreate& wanted, bool cluster) {
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
  if ((driver == "overlay" && !cluster) || wanted.scope == "swarm") {
    return Forbidden(
        driver == "overlay"
            ? "cannot create a swarm scoped network when swarm is not active (without swarm, hosts "
              "share overlay networks by a store: --cluster-store etcd://HOST:2379 "
              "--cluster-advertise ADDRESS of the daemon)"
            : "cannot create a swarm scoped network when swarm is not active");
  }
  if (wanted.ingress) return Forbidden("Ingress network can only be global scope network");
  return {};
}

// A set of settings has no place for what concerns one network alone, and one made from a set has
// no settings of its own.
Result<> CheckConfigFrom(const Engine::NetworkCreate& wanted) {
  if (wanted.config_only) {
    if (wanted.ingress || wanted.internal || wanted.attachable || !wanted.scope.empty()) {
      return Forbidden(
          "configuration network can only contain network specific fields. Network operator fields "
          "like [ ingress | internal | attachable | scope ] are not supported.");
    }
    if (!wanted.config_from.empty()) {
      return Forbidden("a configuration network cannot depend on another configuration network");
    }
  }
  if (wanted.config_from.empty()) return {};
  if (!wanted.enable_ipv4.value_or(true) || wanted.enable_ipv6.value_or(false) ||
      !wanted.labels.empty() || !wanted.ipam_options.empty() || !wanted.ipam.empty()) {
    return Forbidden(
        "user-specified configurations are not supported if the network depends on a configuration "
        "network");
  }
  if (!wanted.options.empty()) {
    return Forbidden(
        "network driver options are not supported if the network depends on a configuration "
        "network");
  }
  return {};
}

// As the request says, else as the driver's option of that name does.
Result<bool> FamilyWanted(const std::map<std::string, std::string>& options,
                          std::optional<bool> said, const char* option, bool usual) {
  if (said) return *said;
  auto given = options.find(option);
  if (given == options.end()) return usual;
  auto value = ParseNetworkFlag(option, given->second);
  if (!value.ok()) return InvalidArgument("driver-opt \"{}\" is not a valid bool", option);
  return value;
}

}  // namespace

Result<networks::NetworkRequest> Engine::MakeNetworkRequest(const NetworkCreate& wanted) const {
  TRY(CheckConfigFrom(wanted));
  networks::NetworkRequest request;
  request.name = wanted.name;
  if (!wanted.driver.empty()) request.driver = wanted.driver;
  request.internal = wanted.internal;
  request.attachable = wanted.attachable;
  request.config_only = wanted.config_only;
  request.config_from = wanted.config_from;
  std::map<std::string, std::string> options = wanted.options;
  if (wanted.config_from.empty()) {
    auto snapshot = settings();
    auto usual =
        snapshot->default_network_options.find(wanted.driver.empty() ? "bridge" : wanted.driver);
    // Those of the request win.
    if (usual != snapshot->default_network_options.end()) {
      options.insert(usual->second.begin(), usual->second.end());
    }
    request.ipv4 = TRY(FamilyWanted(options, wanted.enable_ipv4, kEnableIpv4, true));
    request.ipv6 = TRY(FamilyWanted(options, wanted.enable_ipv6, kEnableIpv6, false));
    // What the request says beats them; they would only look wrong in the answers.
    if (wanted.enable_ipv4) options.erase(kEnableIpv4);
    if (wanted.enable_ipv6) options.erase(kEnableIpv6);
    request.labels = wanted.labels;
    request.ipam = wanted.ipam;
    request.ipam_options = wanted.ipam_options;
    if (wanted.ipam_driver != "default") request.ipam_driver = wanted.ipam_driver;
  } else {
    auto config = networks_->InspectNetwork(wanted.config_from);
    if (!config.ok() || !config->config_only) {
      return NotFound("configuration network \"{}\" does not exist", wanted.config_from);
    }
    request.config_from = config->name;
    request.ipv4 = config->ipv4;
    request.ipv6 = config->wants_ipv6;
    request.labels = config->labels;
    request.ipam = config->ipam;
    request.ipam_options = config->ipam_options;
    request.ipam_driver = config->ipam_driver;
    options = config->options;
  }
  request.options = options;
  // Looked at when a network is made from it, as docker does.
  if (request.config_only) return request;
  TRY(ReadNetworkOptions(options, &request));
  TRY(ReadPools(&request));
  return request;
}

Result<networks::Network> Engine::CreateNetwork(const NetworkCreate& wanted) {
  TRY(CheckNameAndDriver(wanted, networks_->HasCluster()));
  networks::NetworkRequest request = TRY(MakeNetworkRequest(wanted));
  // Its id is not known yet.
  Event intent = NetworkEvent("create", {});
  TRY(store_->untold().Put(intent, request.name));
  auto created = networks_->CreateNetwork(request);
  if (created.ok()) PublishNetwork("create", *created);
  store_->untold().Done(intent, request.name);
  return created;
}

Result<> Engine::RemoveNetwork(std::string_view reference) {
  networks::Network network = TRY(FindNetwork(*networks_, reference));
  if (!IsUserDefined(network)) {
    return Forbidden(
        fmt::format("{} is a pre-defined network and cannot be removed", network.name));
  }
  return RemoveAndPublish(network);
}

Result<> Engine::RemoveAndPublish(const networks::Network& network) {
  Event event = NetworkEvent("destroy", network);
  TRY(store_->untold().Put(event));
  Result<> removed = networks_->RemoveNetwork(network.id);
  if (!removed.ok()) {
    store_->untold().Done(event);
    return removed;
  }
  Publish(std::move(event));
  return {};
}

Result<std::vector<std::string>> Engine::PruneNetworks(
    const std::function<bool(const networks::Network&)>& wanted) {
  std::vector<std::string> removed;
  for (const networks::Network& network : networks_->ListNetworks()) {
    if (!IsUserDefined(network) || network.config_only || !wanted(network)) continue;
    if (!networks_->ListEndpoints(network.id).empty()) continue;
    auto done = RemoveAndPublish(network);
    // Somebody was faster: attached to it or removed it.
    bool raced = !done.ok() && (done.error().kind() == ErrorKind::kPermissionDenied ||
                                done.error().kind() == ErrorKind::kNotFound);
    if (raced) continue;
    TRY_WITH(std::move(done), "removing network {}", network.name);
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
  Publish(NetworkEvent(action, network, container_id));
}

}  // namespace gantry::engine
