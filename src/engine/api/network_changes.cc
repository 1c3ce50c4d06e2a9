// SPDX-License-Identifier: Apache-2.0
//
// POST /networks/create, connect, disconnect and prune, DELETE /networks/{}: the bodies.
#include <utility>

#include "engine/api/filters.h"
#include "engine/api/image_list.h"
#include "engine/api/network_handlers.h"

namespace gantry::engine::api {
namespace {

using formats::Json;
using formats::JsonReader;

constexpr int kIpv4Minor = 48;  // IPv4 can be left out since then

Result<Engine::NetworkCreate> ReadCreate(const Json& body) {
  Engine::NetworkCreate wanted;
  JsonReader reader(body, "", JsonReader::Keys::kAnyCase);
  reader.Field("Name", &wanted.name);
  reader.Field("Driver", &wanted.driver);
  reader.Field("Scope", &wanted.scope);
  reader.Field("Internal", &wanted.internal);
  reader.Field("Attachable", &wanted.attachable);
  reader.Field("Ingress", &wanted.ingress);
  reader.Field("ConfigOnly", &wanted.config_only);
  reader.Field("EnableIPv4", &wanted.enable_ipv4);
  reader.Field("EnableIPv6", &wanted.enable_ipv6);
  reader.Field("Options", &wanted.options);
  reader.Field("Labels", &wanted.labels);
  reader.Object("ConfigFrom",
                [&](JsonReader& from) { from.Field("Network", &wanted.config_from); });
  reader.Object("IPAM", [&](JsonReader& ipam) {
    ipam.Field("Driver", &wanted.ipam_driver);
    ipam.Field("Options", &wanted.ipam_options);
    ipam.Objects("Config", [&](JsonReader& item) {
      networks::IpamConfig config;
      item.Field("Subnet", &config.subnet);
      item.Field("IPRange", &config.ip_range);
      item.Field("Gateway", &config.gateway);
      item.Field("AuxiliaryAddresses", &config.auxiliary);
      wanted.ipam.push_back(std::move(config));
    });
  });
  TRY(reader.Finish());
  return wanted;
}

}  // namespace

Result<> CreateNetwork(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (!body.is_object()) return InvalidArgument("the body of the request is no JSON object");
  if (call.minor < kIpv4Minor) body.Erase("EnableIPv4");
  networks::Network network = TRY(call.engine().CreateNetwork(TRY(ReadCreate(body))));
  return RespondJson(call, 201, Json::MakeObject({{"Id", network.id}, {"Warning", ""}}));
}

Result<> RemoveNetwork(Call& call) {
  TRY(call.engine().RemoveNetwork(call.arg()));
  return RespondEmpty(call);
}

Result<> ConnectNetwork(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (!body.is_object()) return InvalidArgument("the body of the request is no JSON object");
  std::string container;
  JsonReader reader(body, "", JsonReader::Keys::kAnyCase);
  reader.Field("Container", &container);
  TRY(reader.Finish());
  EndpointConfig config;
  if (const Json* wanted = reader.Raw("EndpointConfig")) config = TRY(ParseEndpointConfig(*wanted));
  TRY(call.engine().ConnectNetwork(call.arg(), container, std::move(config)));
  return RespondEmpty(call, 200);
}

Result<> DisconnectNetwork(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (!body.is_object()) return InvalidArgument("the body of the request is no JSON object");
  std::string container;
  bool force = false;  // what is asked for is done in any case
  JsonReader reader(body, "", JsonReader::Keys::kAnyCase);
  reader.Field("Container", &container);
  reader.Field("Force", &force);
  TRY(reader.Finish());
  TRY(call.engine().DisconnectNetwork(call.arg(), container));
  return RespondEmpty(call, 200);
}

Result<> PruneNetworks(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"label", "label!", "until"}));
  WallTime until = WallTime::max();
  for (const std::string& text : filters.Values("until")) until = TRY(ParseUntil(text));
  auto wanted = [&](const networks::Network& network) {
    bool shunned = filters.Has("label!") && filters.MatchLabels("label!", network.labels);
    return filters.MatchLabels("label", network.labels) && !shunned && network.created <= until;
  };
  std::vector<std::string> removed = TRY(call.engine().PruneNetworks(wanted));
  Json names = removed.empty() ? Json() : Json(removed);
  return RespondJson(call, 200, Json::MakeObject({{"NetworksDeleted", std::move(names)}}));
}

}  // namespace gantry::engine::api
