// SPDX-License-Identifier: Apache-2.0
#include "engine/api/network_handlers.h"

#include <algorithm>
#include <utility>

#include "engine/api/container_json.h"
#include "engine/api/filters.h"
#include "engine/network_list.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

Json IpamConfigs(const networks::Network& network) {
  Json out = Json::MakeArray();
  if (IsSpecial(network)) return out;
  auto chosen_here = [&](bool ipv6) {
    return std::none_of(network.ipam.begin(), network.ipam.end(), [&](const auto& item) {
      return (item.subnet.find(':') != std::string::npos) == ipv6;
    });
  };
  auto append = [&](const auto& subnet, const auto& gateway) {
    Json entry = Json::MakeObject({{"Subnet", subnet.ToString()}});
    if (!gateway.IsUnspecified()) entry.Set("Gateway", gateway.ToString());
    out.Append(std::move(entry));
  };
  // IPv4 first, in whatever order they were asked for.
  for (bool ipv6 : {false, true}) {
    if (chosen_here(ipv6)) {
      if (!ipv6 && network.has_ipv4()) append(network.subnet, network.gateway);
      if (ipv6 && network.subnet6) append(*network.subnet6, *network.gateway6);
    }
    for (const networks::IpamConfig& config : network.ipam) {
      if ((config.subnet.find(':') != std::string::npos) != ipv6) continue;
      Json entry = Json::MakeObject({{"Subnet", config.subnet}});
      if (!config.ip_range.empty()) entry.Set("IPRange", config.ip_range);
      if (!config.gateway.empty()) entry.Set("Gateway", config.gateway);
      if (!config.auxiliary.empty()) entry.Set("AuxiliaryAddresses", config.auxiliary);
      out.Append(std::move(entry));
    }
  }
  return out;
}

Json OptionsOf(const networks::Network& network) {
  Json options = Json(network.options);
  if (options.is_null()) options = Json::MakeObject();
  if (network.is_default) {
    options.Set("com.docker.network.bridge.default_bridge", "true");
    options.Set("com.docker.network.bridge.enable_icc", network.icc ? "true" : "false");
    options.Set("com.docker.network.bridge.enable_ip_masquerade",
                network.masquerade ? "true" : "false");
    options.Set("com.docker.network.bridge.host_binding_ipv4",
                network.host_binding.empty() ? "0.0.0.0" : network.host_binding);
    options.Set("com.docker.network.bridge.name", network.bridge);
    options.Set("com.docker.network.driver.mtu", std::to_string(network.mtu));
  }
  return options;
}

Json Document(const networks::Network& network) {
  Json ipam_options = network.ipam_options.empty() ? Json() : Json(network.ipam_options);
  std::string ipam_driver = network.ipam_driver.empty() ? "default" : network.ipam_driver;
  return Json::MakeObject({{"Name", network.name},
                           {"Id", network.id},
                           {"Created", TimeText(network.created)},
                           {"Scope", network.is_overlay() ? "global" : "local"},
                           {"Driver", network.driver},
                           {"EnableIPv4", network.ipv4},
                           {"EnableIPv6", network.subnet6.has_value() || network.wants_ipv6},
                           {"IPAM", Json::MakeObject({{"Driver", ipam_driver},
                                                      {"Options", std::move(ipam_options)},
                                                      {"Config", IpamConfigs(network)}})},
                           {"Internal", network.internal},
                           {"Attachable", network.attachable},
                           {"Ingress", false},
                           {"ConfigFrom", Json::MakeObject({{"Network", network.config_from}})},
                           {"ConfigOnly", network.config_only},
                           {"Containers", Json::MakeObject()},
                           {"Options", OptionsOf(network)},
                           {"Labels", Json(network.labels)}});
}

// Running containers on `host` or `none`.
void AddSpecialContainers(Call& call, const networks::Network& network, Json* containers) {
  for (const auto& record : call.engine().List()) {
    if (!record->state.IsAlive()) continue;
    if (!record->networking.endpoints_config.contains(network.name)) continue;
    containers->Set(record->id,
                    Json::MakeObject({{"Name", record->name},
                                      {"EndpointID", SpecialEndpointId(record->id, network)},
                                      {"MacAddress", ""},
                                      {"IPv4Address", ""},
                                      {"IPv6Address", ""}}));
  }
}

template <typename Address>
std::string WithLength(const Address& address, uint8_t length) {
  return length == 0 ? "" : fmt::format("{}/{}", address.ToString(), length);
}

Json WithContainers(Call& call, const networks::Network& network) {
  Json out = Document(network);
  Json& containers = out.MutableMember("Containers");
  if (IsSpecial(network)) {
    AddSpecialContainers(call, network, &containers);
    return out;
  }
  for (const networks::Endpoint& endpoint : call.engine().networks().ListEndpoints(network.id)) {
    auto container = call.engine().Find(endpoint.container_id);
    containers.Set(
        endpoint.container_id,
        Json::MakeObject(
            {{"Name", container.ok() ? (*container)->record()->name : ""},
             {"EndpointID", endpoint.id},
             {"MacAddress", endpoint.mac.ToString()},
             {"IPv4Address", WithLength(endpoint.address, endpoint.prefix_length)},
             {"IPv6Address", WithLength(endpoint.address6.value_or(formats::Ipv6Address{}),
                                        endpoint.prefix_length6)}}));
  }
  return out;
}

Result<> CheckFilters(const Filters& filters) {
  TRY(filters.CheckKeys({"dangling", "driver", "id", "label", "name", "scope", "type"}));
  for (const std::string& value : filters.Values("dangling")) {
    if (value != "true" && value != "1" && value != "false" && value != "0") {
      return InvalidArgument(
          "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or "
          "\"0\")");
    }
  }
  for (const std::string& value : filters.Values("type")) {
    if (value != "custom" && value != "builtin") {
      return InvalidArgument("invalid filter: 'type'='{}'", value);
    }
  }
  return {};
}

// A user's network that no container is on.
bool MatchDangling(Call& call, const Filters& filters, const networks::Network& network) {
  if (!filters.Has("dangling")) return true;
  const std::string& value = filters.Values("dangling").front();
  bool dangling =
      IsUserDefined(network) && call.engine().networks().ListEndpoints(network.id).empty();
  return dangling == (value == "true" || value == "1");
}

}  // namespace

namespace {

// What `?counters=1` adds, our own: a field "GantryCounters" of each container.
Result<> AddCounters(Call& call, const networks::Network& network, Json* document) {
  std::map<std::string, networks::Counters> counters = TRY(EndpointCounters());
  Json& containers = document->MutableMember("Containers");
  for (const networks::Endpoint& endpoint : call.engine().networks().ListEndpoints(network.id)) {
    auto found = counters.find(endpoint.host_link);
    if (found == counters.end()) continue;  // it is just going
    const networks::Counters& seen = found->second;
    containers.MutableMember(endpoint.container_id)
        .Set("GantryCounters", Json::MakeObject({{"ReceivedBytes", seen.received_bytes},
                                                 {"ReceivedPackets", seen.received_packets},
                                                 {"ReceivedDropped", seen.received_dropped},
                                                 {"SentBytes", seen.sent_bytes},
                                                 {"SentPackets", seen.sent_packets},
                                                 {"SentDropped", seen.sent_dropped}}));
  }
  return {};
}

constexpr int kStatusMinor = 52;

// How full the subnets are.
void AddStatus(Call& call, const networks::Network& network, Json* document) {
  Json subnets = Json::MakeObject();
  for (const networks::SubnetUse& use : call.engine().networks().UseOf(network.id)) {
    subnets.Set(use.subnet, Json::MakeObject({{"IPsInUse", use.in_use},
                                              {"DynamicIPsAvailable", use.available}}));
  }
  if (subnets.size() == 0) return;
  document->Set("Status", Json::MakeObject({{"IPAM", Json::MakeObject({{"Subnets", subnets}})}}));
}

}  // namespace

Result<> ListNetworks(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(CheckFilters(filters));
  Json out = Json::MakeArray();
  for (const networks::Network& network : AllNetworks(call.engine().networks())) {
    const char* type = IsUserDefined(network) ? "custom" : "builtin";
    if (filters.MatchExact("driver", network.driver) && filters.MatchPrefix("id", network.id) &&
        filters.MatchName(network.name) && filters.MatchLabels("label", network.labels) &&
        filters.MatchExact("scope", "local") && filters.MatchExact("type", type) &&
        MatchDangling(call, filters, network)) {
      out.Append(Document(network));
    }
  }
  return RespondJson(call, 200, out);
}

Result<> InspectNetwork(Call& call) {
  std::string_view scope = call.query().Get("scope");
  if (!scope.empty() && scope != "local") return NotFound("network {} not found", call.arg());
  networks::Network network = TRY(FindNetwork(call.engine().networks(), call.arg()));
  Json document = WithContainers(call, network);
  if (call.query().Get("counters") == "1") TRY(AddCounters(call, network, &document));
  if (call.minor >= kStatusMinor) AddStatus(call, network, &document);
  return RespondJson(call, 200, document);
}

}  // namespace gantry::engine::api
