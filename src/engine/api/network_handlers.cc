// SPDX-License-Identifier: Apache-2.0
#include "engine/api/network_handlers.h"

#include <utility>

#include "engine/api/container_json.h"
#include "engine/api/filters.h"
#include "formats/digest.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

Json Document(const networks::Network& network) {
  Json config = Json::MakeArray();
  if (network.driver == "bridge") {
    config.Append(Json::MakeObject(
        {{"Subnet", network.subnet.ToString()}, {"Gateway", network.gateway.ToString()}}));
  }
  Json options = Json(network.options);
  if (options.is_null()) options = Json::MakeObject();
  if (network.is_default) {
    options.Set("com.docker.network.bridge.default_bridge", "true");
    options.Set("com.docker.network.bridge.enable_icc", network.icc ? "true" : "false");
    options.Set("com.docker.network.bridge.enable_ip_masquerade",
                network.masquerade ? "true" : "false");
    options.Set("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0");
    options.Set("com.docker.network.bridge.name", network.bridge);
    options.Set("com.docker.network.driver.mtu", std::to_string(network.mtu));
  }
  return Json::MakeObject(
      {{"Name", network.name},
       {"Id", network.id},
       {"Created", TimeText(network.created)},
       {"Scope", "local"},
       {"Driver", network.driver},
       {"EnableIPv6", false},
       {"IPAM", Json::MakeObject({{"Driver", "default"}, {"Options", Json()}, {"Config", config}})},
       {"Internal", network.internal},
       {"Attachable", false},
       {"Ingress", false},
       {"ConfigFrom", Json::MakeObject({{"Network", ""}})},
       {"ConfigOnly", false},
       {"Containers", Json::MakeObject()},
       {"Options", options},
       {"Labels", Json(network.labels)}});
}

Json WithContainers(Call& call, const networks::Network& network) {
  Json out = Document(network);
  Json& containers = out.MutableMember("Containers");
  for (const networks::Endpoint& endpoint : call.engine().networks().ListEndpoints(network.id)) {
    auto container = call.engine().Find(endpoint.container_id);
    containers.Set(
        endpoint.container_id,
        Json::MakeObject({{"Name", container.ok() ? (*container)->record()->name : ""},
                          {"EndpointID", endpoint.id},
                          {"MacAddress", endpoint.mac.ToString()},
                          {"IPv4Address", fmt::format("{}/{}", endpoint.address.ToString(),
                                                      endpoint.prefix_length)},
                          {"IPv6Address", ""}}));
  }
  return out;
}

// The two networks that are no networks have ids too; they need only never change.
networks::Network Special(std::string_view name) {
  networks::Network network;
  network.id = formats::Digest::Of(fmt::format("gantry network {}", name)).hex();
  network.name = std::string(name);
  network.driver = name == "host" ? "host" : "null";
  return network;
}

std::vector<networks::Network> AllNetworks(Call& call) {
  std::vector<networks::Network> all = call.engine().networks().ListNetworks();
  all.push_back(Special("host"));
  all.push_back(Special("none"));
  return all;
}

}  // namespace

Result<> ListNetworks(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"dangling", "driver", "id", "label", "name", "scope", "type"}));
  Json out = Json::MakeArray();
  for (const networks::Network& network : AllNetworks(call)) {
    bool builtin = network.is_default || network.driver != "bridge";
    if (!filters.MatchExact("driver", network.driver) || !filters.MatchPrefix("id", network.id) ||
        !filters.MatchName("name", network.name) || !filters.MatchLabels("label", network.labels) ||
        !filters.MatchExact("scope", "local") ||
        !filters.MatchExact("type", builtin ? "builtin" : "custom")) {
      continue;
    }
    out.Append(Document(network));
  }
  return RespondJson(call, 200, out);
}

Result<> InspectNetwork(Call& call) {
  const std::string& wanted = call.arg();
  for (const char* name : {"host", "none"}) {
    networks::Network special = Special(name);
    if (wanted == special.name || wanted == special.id) {
      return RespondJson(call, 200, Document(special));
    }
  }
  networks::Network network = TRY(call.engine().networks().InspectNetwork(wanted));
  return RespondJson(call, 200, WithContainers(call, network));
}

}  // namespace gantry::engine::api
