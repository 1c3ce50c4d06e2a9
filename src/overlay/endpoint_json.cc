// SPDX-License-Identifier: Apache-2.0
#include "overlay/endpoint_json.h"

#include "formats/json.h"

namespace gantry::overlay {
namespace {

using formats::Json;
using formats::JsonReader;

template <typename T>
T Parsed(JsonReader* reader, std::string_view key, Result<T> (*parse)(std::string_view)) {
  std::string text;
  reader->Field(key, &text);
  auto value = parse(text);
  if (value.ok()) return *value;
  reader->Fail(key, value.error().message());
  return T{};
}

template <typename T>
std::optional<T> MaybeParsed(JsonReader* reader, std::string_view key,
                             Result<T> (*parse)(std::string_view)) {
  const Json* member = reader->Raw(key);
  if (member == nullptr || (member->is_string() && member->AsString().empty())) {
    return std::nullopt;
  }
  return Parsed(reader, key, parse);
}

}  // namespace

std::string EncodeEndpoint(const TaggedEndpoint& tagged) {
  const networks::ClusterEndpoint& endpoint = tagged.endpoint;
  return Json::MakeObject({{"id", endpoint.id},
                           {"network", endpoint.network_id},
                           {"container", endpoint.container_id},
                           {"host", tagged.host_id},
                           {"hostName", endpoint.host_name},
                           {"hostAddress", endpoint.host.ToString()},
                           {"address", endpoint.address ? endpoint.address->ToString() : ""},
                           {"address6", endpoint.address6 ? endpoint.address6->ToString() : ""},
                           {"mac", endpoint.mac.ToString()},
                           {"names", endpoint.names}})
      .Dump();
}

Result<TaggedEndpoint> DecodeEndpoint(std::string_view text) {
  Json json = TRY_WITH(Json::Parse(text), "reading an endpoint of the cluster");
  JsonReader reader(json, "endpoint");
  TaggedEndpoint tagged;
  networks::ClusterEndpoint& endpoint = tagged.endpoint;
  reader.Field("id", &endpoint.id);
  reader.Field("network", &endpoint.network_id);
  reader.Field("container", &endpoint.container_id);
  reader.Field("host", &tagged.host_id);
  reader.Field("hostName", &endpoint.host_name);
  endpoint.host = Parsed(&reader, "hostAddress", formats::Ipv4Address::Parse);
  endpoint.address = MaybeParsed(&reader, "address", formats::Ipv4Address::Parse);
  endpoint.address6 = MaybeParsed(&reader, "address6", formats::Ipv6Address::Parse);
  endpoint.mac = Parsed(&reader, "mac", formats::MacAddress::Parse);
  reader.Field("names", &endpoint.names);
  TRY(reader.Finish());
  return tagged;
}

}  // namespace gantry::overlay
