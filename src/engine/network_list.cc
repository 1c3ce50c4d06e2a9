// SPDX-License-Identifier: Apache-2.0
#include "engine/network_list.h"

#include <array>

#include "formats/digest.h"

namespace gantry::engine {
namespace {

// Their ids need only never change.
networks::Network MakeSpecial(std::string_view name) {
  networks::Network network;
  network.id = formats::Digest::Of(fmt::format("gantry network {}", name)).hex();
  network.name = std::string(name);
  network.driver = name == "host" ? "host" : "null";
  return network;
}

// Every look-up asks, and a digest costs more than the rest of it.
const std::array<networks::Network, 2>& Specials() {
  static const std::array<networks::Network, 2> both = {MakeSpecial("host"), MakeSpecial("none")};
  return both;
}

}  // namespace

std::vector<networks::Network> AllNetworks(const networks::Controller& controller) {
  std::vector<networks::Network> all = controller.ListNetworks();
  all.insert(all.end(), Specials().begin(), Specials().end());
  return all;
}

Result<networks::Network> FindNetwork(const networks::Controller& controller,
                                      std::string_view reference) {
  if (reference == "default") reference = "bridge";
  for (const networks::Network& special : Specials()) {
    bool prefix = reference.size() >= 12 && special.id.starts_with(reference);
    if (reference == special.name || prefix) return special;
  }
  if (reference.empty()) return NotFound("network  not found");
  return controller.InspectNetwork(reference);
}

bool IsSpecial(const networks::Network& network) {
  return (network.driver == "host" || network.driver == "null") && !network.config_only;
}

bool IsUserDefined(const networks::Network& network) {
  return !IsSpecial(network) && !network.is_default;
}

Result<std::map<std::string, networks::Counters>> EndpointCounters() {
  return networks::ReadCounters();
}

std::string NetworkName(const HostConfig& host) {
  if (host.network_mode.empty() || host.network_mode == "default") return "bridge";
  return host.network_mode;
}

bool JoinsContainer(const HostConfig& host) { return host.network_mode.starts_with("container:"); }

std::string SpecialEndpointId(std::string_view container_id, const networks::Network& network) {
  return std::string(formats::Digest::Of(fmt::format("{} {}", container_id, network.id)).hex());
}

}  // namespace gantry::engine
