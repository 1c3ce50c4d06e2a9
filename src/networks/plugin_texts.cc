// SPDX-License-Identifier: Apache-2.0
#include "networks/plugin_texts.h"

#include <netinet/in.h>

#include <algorithm>
#include <tuple>

#include "base/number.h"

namespace gantry::networks {

using formats::Json;

namespace {

int ProtocolNumber(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return IPPROTO_TCP;
    case Protocol::kUdp:
      return IPPROTO_UDP;
    case Protocol::kSctp:
      return IPPROTO_SCTP;
  }
  CHECK(false);
}

template <typename Address>
Json PoolOf(const Network& network, const std::string& subnet, uint8_t length,
            const Address& gateway) {
  Json pool = Json::MakeObject(
      {{"AddressSpace", network.ipam_driver.empty() ? "LocalDefault" : network.ipam_driver},
       {"Pool", subnet}});
  if (!gateway.IsUnspecified()) {
    pool.Set("Gateway", fmt::format("{}/{}", gateway.ToString(), length));
  }
  return pool;
}

// "10.1.2.3/24".
template <typename Address>
Result<std::pair<Address, uint8_t>> ParseWithLength(const std::string& text, uint8_t longest) {
  size_t slash = std::min(text.find('/'), text.size());
  auto length =
      ParseNumber<uint8_t>(std::string_view(text).substr(std::min(slash + 1, text.size())));
  auto address = Address::Parse(text.substr(0, slash));
  if (!address.ok() || !length || *length == 0 || *length > longest) {
    return InvalidArgument("'{}' is no address with its length", text);
  }
  return std::pair{*address, *length};
}

}  // namespace

Json PluginOptions(const AttachRequest& request) {
  Json exposed = Json::MakeArray();
  Json published = Json::MakeArray();
  for (const PortRequest& port : request.ports) {
    Json number{ProtocolNumber(port.protocol)};
    exposed.Append(Json::MakeObject({{"Proto", number}, {"Port", int{port.container_port}}}));
    uint16_t last = std::max(port.host_port_first, port.host_port_last);
    published.Append(Json::MakeObject({{"Proto", number},
                                       {"IP", ""},
                                       {"Port", int{port.container_port}},
                                       {"HostIP", port.host_ip},
                                       {"HostPort", int{port.host_port_first}},
                                       {"HostPortEnd", int{last}}}));
  }
  Json options = Json::MakeObject();
  for (const auto& [key, value] : request.driver_options) options.Set(key, value);
  options.Set("com.docker.network.endpoint.exposedports", std::move(exposed));
  options.Set("com.docker.network.portmap", std::move(published));
  return options;
}

Json PluginNetwork(const Network& network) {
  Json options = Json::MakeObject({{"com.docker.network.enable_ipv6", network.subnet6.has_value()},
                                   {"com.docker.network.generic", network.options}});
  if (network.options.empty()) options.Set("com.docker.network.generic", Json::MakeObject());
  if (network.internal) options.Set("com.docker.network.internal", true);
  Json ipv4 = Json::MakeArray();
  Json ipv6 = Json::MakeArray();
  for (const Subnet& item : SubnetsOf(network)) {
    ipv4.Append(PoolOf(network, item.subnet.ToString(), item.subnet.length,
                       item.gateway.value_or(formats::Ipv4Address{})));
  }
  for (const Subnet6& item : SubnetsOf6(network)) {
    ipv6.Append(PoolOf(network, item.subnet.ToString(), item.subnet.length,
                       item.gateway.value_or(formats::Ipv6Address{})));
  }
  if (network.ipam_driver == kNoIpam) {
    ipv4.Append(PoolOf(network, "0.0.0.0/0", 0, formats::Ipv4Address{}));
  }
  return Json::MakeObject({{"NetworkID", network.id},
                           {"Options", std::move(options)},
                           {"IPv4Data", std::move(ipv4)},
                           {"IPv6Data", std::move(ipv6)}});
}

std::string Address4Text(const Endpoint& endpoint) {
  if (!endpoint.has_ipv4()) return "";
  return fmt::format("{}/{}", endpoint.address.ToString(), endpoint.prefix_length);
}

std::string Address6Text(const Endpoint& endpoint) {
  if (!endpoint.address6) return "";
  return fmt::format("{}/{}", endpoint.address6->ToString(), endpoint.prefix_length6);
}

Result<> ReadPluginInterface(const Json& answer, Endpoint* endpoint) {
  const Json& interface = answer["Interface"];
  const std::string& address = interface["Address"].AsString();
  const std::string& address6 = interface["AddressIPv6"].AsString();
  const std::string& mac = interface["MacAddress"].AsString();
  bool changes = (!address.empty() && endpoint->has_ipv4()) ||
                 (!address6.empty() && endpoint->address6.has_value()) ||
                 (!mac.empty() && !endpoint->mac.IsZero());
  if (changes) return FailedPrecondition("it wants to change the interface's addresses");
  if (!address.empty()) {
    std::tie(endpoint->address, endpoint->prefix_length) =
        TRY(ParseWithLength<formats::Ipv4Address>(address, 32));
  }
  if (!address6.empty()) {
    std::tie(endpoint->address6, endpoint->prefix_length6) =
        TRY(ParseWithLength<formats::Ipv6Address>(address6, 128));
  }
  if (!mac.empty()) endpoint->mac = TRY(formats::MacAddress::Parse(mac));
  return {};
}

Result<PluginJoin> ReadPluginJoin(const Json& answer) {
  PluginJoin join;
  join.link = answer["InterfaceName"]["SrcName"].AsString();
  join.prefix = answer["InterfaceName"]["DstPrefix"].AsString();
  if (join.link.empty()) return FailedPrecondition("it names no interface");
  if (join.prefix.empty()) join.prefix = "eth";
  const std::string& gateway = answer["Gateway"].AsString();
  const std::string& gateway6 = answer["GatewayIPv6"].AsString();
  if (!gateway.empty()) join.gateway = TRY(formats::Ipv4Address::Parse(gateway));
  if (!gateway6.empty()) join.gateway6 = TRY(formats::Ipv6Address::Parse(gateway6));
  for (const Json& route : answer["StaticRoutes"].items()) {
    // libnetwork/types: 0 is by a next hop, 1 straight over the interface.
    bool straight = route["RouteType"].is_integer() && route["RouteType"].AsInt() == 1;
    join.routes.push_back(
        {route["Destination"].AsString(), straight ? std::string() : route["NextHop"].AsString()});
  }
  join.no_way_out = answer["DisableGatewayService"].AsBool();
  return join;
}

bool IsAbsent(const Error& error) {
  return error.kind() == ErrorKind::kUnavailable || error.kind() == ErrorKind::kNotFound;
}

Endpoint AddressesOf(const Network& network, const AttachRequest& request) {
  Endpoint endpoint;
  endpoint.network_id = network.id;
  if (request.address) {
    endpoint.address = *request.address;
    endpoint.prefix_length = network.subnet.length;
  }
  endpoint.address6 = request.address6;
  return endpoint;
}

}  // namespace gantry::networks
