// SPDX-License-Identifier: Apache-2.0
#include "networks/records.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "base/mutex.h"
#include "formats/json.h"

namespace gantry::networks {

using formats::Json;
using formats::JsonReader;

namespace {

constexpr std::pair<Protocol, std::string_view> kProtocols[] = {
    {Protocol::kTcp, "tcp"},
    {Protocol::kUdp, "udp"},
    {Protocol::kSctp, "sctp"},
};

}  // namespace

std::string_view ProtocolName(Protocol protocol) {
  for (const auto& [value, name] : kProtocols) {
    if (value == protocol) return name;
  }
  return "";
}

Result<Protocol> ParseProtocol(std::string_view name) {
  if (name.empty()) return Protocol::kTcp;
  for (const auto& [value, known] : kProtocols) {
    if (known == name) return value;
  }
  return InvalidArgument("invalid proto: {}", name);
}

namespace {

constexpr std::pair<GatewayMode, std::string_view> kModes[] = {
    {GatewayMode::kNat, "nat"},
    {GatewayMode::kNatUnprotected, "nat-unprotected"},
    {GatewayMode::kRouted, "routed"},
    {GatewayMode::kIsolated, "isolated"},
};

}  // namespace

std::string_view GatewayModeName(GatewayMode mode) {
  for (const auto& [value, name] : kModes) {
    if (value == mode) return name;
  }
  return "";
}

std::vector<PublishedPort> Endpoint::AllPorts() const {
  std::vector<PublishedPort> all = ports;
  all.insert(all.end(), cni_ports.begin(), cni_ports.end());
  return all;
}

Subnet FirstSubnet(const Network& network) {
  Subnet first{network.subnet, {}, network.ip_range, network.auxiliary};
  if (!network.gateway.IsUnspecified()) first.gateway = network.gateway;
  return first;
}

Subnet6 FirstSubnet6(const Network& network) {
  Subnet6 first{*network.subnet6, {}, network.ip_range6, network.auxiliary6};
  if (!network.gateway6->IsUnspecified()) first.gateway = network.gateway6;
  return first;
}

std::vector<Subnet> SubnetsOf(const Network& network) {
  if (!network.has_ipv4()) return {};
  std::vector<Subnet> all = network.more;
  all.insert(all.begin(), FirstSubnet(network));
  return all;
}

std::vector<Subnet6> SubnetsOf6(const Network& network) {
  if (!network.subnet6) return {};
  std::vector<Subnet6> all = network.more6;
  all.insert(all.begin(), FirstSubnet6(network));
  return all;
}

bool IsBuiltInDriver(std::string_view driver) {
  static constexpr std::string_view kDrivers[] = {"bridge",  "cni",  "host",   "ipvlan",
                                                  "macvlan", "null", "overlay"};
  return std::find(std::begin(kDrivers), std::end(kDrivers), driver) != std::end(kDrivers);
}

std::string TunnelName(const Network& network) { return "vx-" + network.id.substr(0, 12); }

std::string DummyParent(const Network& network) {
  return (network.is_ipvlan() ? "di-" : "dm-") + network.id.substr(0, 12);
}

Result<GatewayMode> ParseGatewayMode(std::string_view name) {
  for (const auto& [value, known] : kModes) {
    if (known == name) return value;
  }
  return InvalidArgument("unknown gateway mode {}", name);
}

namespace {

// Reads a member with a parser of its own.
template <typename T, typename Parse>
void Parsed(JsonReader* reader, std::string_view key, Parse parse, T* out) {
  std::string text;
  reader->Field(key, &text);
  if (!reader->ok()) return;
  auto value = parse(text);
  if (!value.ok()) return reader->Fail(key, value.error().message());
  *out = std::move(value).value();
}

// One that may be missing, or "".
template <typename T, typename Parse>
void MaybeParsed(JsonReader* reader, std::string_view key, Parse parse, std::optional<T>* out) {
  std::string text;
  reader->Field(key, &text);
  if (text.empty()) return;
  T value;
  Parsed(reader, key, parse, &value);
  *out = value;
}

template <typename T, typename Parse>
void ParsedList(JsonReader* reader, std::string_view key, Parse parse, std::vector<T>* out) {
  std::vector<std::string> texts;
  reader->Field(key, &texts);
  for (const std::string& text : texts) {
    auto value = parse(text);
    if (!value.ok()) return reader->Fail(key, value.error().message());
    out->push_back(*std::move(value));
  }
}

template <typename T>
std::string TextOf(const std::optional<T>& value) {
  return value ? value->ToString() : "";
}

template <typename T>
Json TextsOf(const std::vector<T>& values) {
  Json out = Json::MakeArray();
  for (const T& value : values) out.Append(value.ToString());
  return out;
}

void Small(JsonReader* reader, std::string_view key, uint32_t max, uint32_t* out) {
  reader->Field(key, out);
  if (*out > max) reader->Fail(key, "out of range");
}

PublishedPort ReadPort(JsonReader& reader) {
  constexpr uint32_t kMax = std::numeric_limits<uint16_t>::max();
  PublishedPort port;
  uint32_t host = 0;
  uint32_t container = 0;
  reader.Field("hostIp", &port.host_ip);
  Small(&reader, "hostPort", kMax, &host);
  Small(&reader, "containerPort", kMax, &container);
  Parsed(&reader, "protocol", ParseProtocol, &port.protocol);
  port.host_port = static_cast<uint16_t>(host);
  port.container_port = static_cast<uint16_t>(container);
  return port;
}

Json EncodeIpam(const std::vector<IpamConfig>& configs) {
  Json out = Json::MakeArray();
  for (const IpamConfig& config : configs) {
    out.Append(Json::MakeObject({{"subnet", config.subnet},
                                 {"range", config.ip_range},
                                 {"gateway", config.gateway},
                                 {"auxiliary", config.auxiliary}}));
  }
  return out;
}

void ReadIpam(JsonReader* reader, Network* network) {
  reader->Objects("ipam", [&](JsonReader& item) {
    IpamConfig config;
    item.Field("subnet", &config.subnet);
    item.Field("range", &config.ip_range);
    item.Field("gateway", &config.gateway);
    item.Field("auxiliary", &config.auxiliary);
    network->ipam.push_back(std::move(config));
  });
  reader->Field("ipamOptions", &network->ipam_options);
}

template <typename Prefix>
Json EncodeSubnets(const std::vector<BasicSubnet<Prefix>>& subnets) {
  Json out = Json::MakeArray();
  for (const auto& item : subnets) {
    out.Append(Json::MakeObject({{"subnet", item.subnet.ToString()},
                                 {"gateway", TextOf(item.gateway)},
                                 {"range", TextOf(item.ip_range)},
                                 {"auxiliary", TextsOf(item.auxiliary)}}));
  }
  return out;
}

template <typename Prefix>
void ReadSubnets(JsonReader* reader, std::string_view key, std::vector<BasicSubnet<Prefix>>* out) {
  using Address = typename BasicSubnet<Prefix>::Address;
  reader->Objects(key, [&](JsonReader& item) {
    BasicSubnet<Prefix> read;
    Parsed(&item, "subnet", Prefix::Parse, &read.subnet);
    MaybeParsed(&item, "gateway", Address::Parse, &read.gateway);
    MaybeParsed(&item, "range", Prefix::Parse, &read.ip_range);
    ParsedList(&item, "auxiliary", Address::Parse, &read.auxiliary);
    out->push_back(std::move(read));
  });
}

void ReadIpv4(JsonReader* reader, Network* network) {
  reader->Field("ipv4", &network->ipv4);
  if (network->has_ipv4()) {
    Parsed(reader, "subnet", formats::Ipv4Prefix::Parse, &network->subnet);
    Parsed(reader, "gateway", formats::Ipv4Address::Parse, &network->gateway);
  }
  MaybeParsed(reader, "range", formats::Ipv4Prefix::Parse, &network->ip_range);
  ParsedList(reader, "auxiliary", formats::Ipv4Address::Parse, &network->auxiliary);
  ReadSubnets(reader, "more", &network->more);
  std::optional<GatewayMode> mode;
  MaybeParsed(reader, "mode4", ParseGatewayMode, &mode);
  network->mode4 = mode.value_or(GatewayMode::kNat);
  MaybeParsed(reader, "hostIpv4", formats::Ipv4Address::Parse, &network->host_ipv4);
  reader->Field("inhibitIpv4", &network->inhibit_ipv4);
}

void ReadIpv6(JsonReader* reader, Network* network) {
  MaybeParsed(reader, "subnet6", formats::Ipv6Prefix::Parse, &network->subnet6);
  MaybeParsed(reader, "gateway6", formats::Ipv6Address::Parse, &network->gateway6);
  if (network->subnet6.has_value() != network->gateway6.has_value()) {
    reader->Fail("gateway6", "expected with subnet6 alone");
  }
  MaybeParsed(reader, "range6", formats::Ipv6Prefix::Parse, &network->ip_range6);
  ParsedList(reader, "auxiliary6", formats::Ipv6Address::Parse, &network->auxiliary6);
  ReadSubnets(reader, "more6", &network->more6);
  std::optional<GatewayMode> mode;
  MaybeParsed(reader, "mode6", ParseGatewayMode, &mode);
  network->mode6 = mode.value_or(GatewayMode::kNat);
  MaybeParsed(reader, "hostIpv6", formats::Ipv6Address::Parse, &network->host_ipv6);
}

// What networks of IPv4 without further settings have not: an earlier release reads those still.
void AddIpv6(const Network& network, Json* out) {
  if (!network.subnet6) return;
  out->Set("subnet6", TextOf(network.subnet6));
  out->Set("gateway6", TextOf(network.gateway6));
  out->Set("range6", TextOf(network.ip_range6));
  out->Set("auxiliary6", TextsOf(network.auxiliary6));
}

}  // namespace

std::string EncodeNetwork(const Network& network) {
  bool subnet = network.has_ipv4();
  Json out = Json::MakeObject({{"id", network.id},
                               {"name", network.name},
                               {"driver", network.driver},
                               {"bridge", network.bridge},
                               {"parent", network.parent},
                               {"parentMade", network.parent_made},
                               {"parentMode", network.parent_mode},
                               {"parentLayer", network.parent_layer},
                               {"cniConfig", network.cni_config},
                               {"cniPath", network.cni_path},
                               {"pluginMade", network.plugin_made},
                               {"ipamDriver", network.ipam_driver},
                               {"pool", network.pool},
                               {"pool6", network.pool6},
                               {"ipamWantsMac", network.ipam_wants_mac},
                               {"ipamWantsReplay", network.ipam_wants_replay},
                               {"vni", network.vni},
                               {"encrypted", network.encrypted},
                               {"ipv4", network.ipv4},
                               {"subnet", subnet ? network.subnet.ToString() : ""},
                               {"gateway", subnet ? network.gateway.ToString() : ""},
                               {"range", TextOf(network.ip_range)},
                               {"auxiliary", TextsOf(network.auxiliary)},
                               {"more", EncodeSubnets(network.more)},
                               {"more6", EncodeSubnets(network.more6)},
                               {"ipam", EncodeIpam(network.ipam)},
                               {"ipamOptions", network.ipam_options},
                               {"mode4", GatewayModeName(network.mode4)},
                               {"mode6", GatewayModeName(network.mode6)},
                               {"trustedInterfaces", network.trusted_interfaces},
                               {"hostIpv4", TextOf(network.host_ipv4)},
                               {"hostIpv6", TextOf(network.host_ipv6)},
                               {"inhibitIpv4", network.inhibit_ipv4},
                               {"interfacePrefix", network.interface_prefix},
                               {"configOnly", network.config_only},
                               {"wantsIpv6", network.wants_ipv6},
                               {"configFrom", network.config_from},
                               {"mtu", network.mtu},
                               {"internal", network.internal},
                               {"icc", network.icc},
                               {"masquerade", network.masquerade},
                               {"default", network.is_default},
                               {"attachable", network.attachable},
                               {"foreignBridge", network.foreign_bridge},
                               {"hostBinding", network.host_binding},
                               {"options", network.options},
                               {"labels", network.labels},
                               {"created", FormatRfc3339Nano(network.created)}});
  AddIpv6(network, &out);
  return out.Dump();
}

Result<Network> DecodeNetwork(std::string_view text) {
  Json json = TRY_WITH(Json::Parse(text), "reading a network's record");
  JsonReader reader(json, "network");
  Network network;
  reader.Field("id", &network.id);
  reader.Field("name", &network.name);
  reader.Field("driver", &network.driver);
  reader.Field("bridge", &network.bridge);
  reader.Field("parent", &network.parent);
  reader.Field("parentMade", &network.parent_made);
  reader.Field("parentMode", &network.parent_mode);
  reader.Field("parentLayer", &network.parent_layer);
  reader.Field("cniConfig", &network.cni_config);
  reader.Field("cniPath", &network.cni_path);
  reader.Field("pluginMade", &network.plugin_made);
  reader.Field("ipamDriver", &network.ipam_driver);
  reader.Field("pool", &network.pool);
  reader.Field("pool6", &network.pool6);
  reader.Field("ipamWantsMac", &network.ipam_wants_mac);
  reader.Field("ipamWantsReplay", &network.ipam_wants_replay);
  reader.Field("vni", &network.vni);
  reader.Field("encrypted", &network.encrypted);
  reader.Field("configOnly", &network.config_only);
  reader.Field("wantsIpv6", &network.wants_ipv6);
  reader.Field("configFrom", &network.config_from);
  ReadIpv4(&reader, &network);
  ReadIpv6(&reader, &network);
  ReadIpam(&reader, &network);
  reader.Field("trustedInterfaces", &network.trusted_interfaces);
  reader.Field("interfacePrefix", &network.interface_prefix);
  reader.Field("mtu", &network.mtu);
  reader.Field("internal", &network.internal);
  reader.Field("icc", &network.icc);
  reader.Field("masquerade", &network.masquerade);
  reader.Field("default", &network.is_default);
  reader.Field("attachable", &network.attachable);
  reader.Field("foreignBridge", &network.foreign_bridge);
  reader.Field("hostBinding", &network.host_binding);
  reader.Field("options", &network.options);
  // Written so by releases that always had an address here.
  bool said = network.options.contains("com.docker.network.bridge.host_binding_ipv4");
  if (network.host_binding == "0.0.0.0" && !said) network.host_binding.clear();
  reader.Field("labels", &network.labels);
  Parsed(&reader, "created", ParseRfc3339, &network.created);
  if (network.id.empty() || network.bridge.empty() == network.has_bridge() ||
      network.cni_config.empty() == network.is_cni()) {
    reader.Fail("id", "expected id and bridge, or a CNI configuration");
  }
  if (!network.ipv4 && !network.subnet6 && !network.config_only) {
    reader.Fail("subnet", "expected one of either family");
  }
  TRY(reader.Finish());
  return network;
}

namespace {

Json EncodePorts(const std::vector<PublishedPort>& ports) {
  Json out = Json::MakeArray();
  for (const PublishedPort& port : ports) {
    out.Append(Json::MakeObject({{"hostIp", port.host_ip},
                                 {"hostPort", int{port.host_port}},
                                 {"containerPort", int{port.container_port}},
                                 {"protocol", ProtocolName(port.protocol)}}));
  }
  return out;
}

Json EncodeExposed(const std::vector<ExposedPort>& ports) {
  Json out = Json::MakeArray();
  for (const ExposedPort& port : ports) {
    out.Append(
        Json::MakeObject({{"port", int{port.port}}, {"protocol", ProtocolName(port.protocol)}}));
  }
  return out;
}

}  // namespace

std::string EncodeEndpoint(const Endpoint& endpoint) {
  return Json::MakeObject({{"id", endpoint.id},
                           {"container", endpoint.container_id},
                           {"network", endpoint.network_id},
                           {"networkName", endpoint.network_name},
                           {"hostname", endpoint.hostname},
                           {"address", endpoint.address.ToString()},
                           {"prefixLength", int{endpoint.prefix_length}},
                           {"gateway", endpoint.gateway.ToString()},
                           {"address6", TextOf(endpoint.address6)},
                           {"prefixLength6", int{endpoint.prefix_length6}},
                           {"gateway6", TextOf(endpoint.gateway6)},
                           {"linkLocal", endpoint.link_local},
                           {"mac", endpoint.mac.ToString()},
                           {"hostLink", endpoint.host_link},
                           {"interface", endpoint.interface},
                           {"netns", endpoint.netns_path},
                           {"internal", endpoint.internal},
                           {"byDevice", endpoint.by_device},
                           {"implicit", endpoint.implicit},
                           {"gatewayPriority", endpoint.gateway_priority},
                           {"named", endpoint.named},
                           {"names", endpoint.names},
                           {"links", endpoint.links},
                           {"dns", endpoint.dns},
                           {"sysctls", endpoint.sysctls},
                           {"reaches", endpoint.reaches},
                           {"routedPorts", EncodePorts(endpoint.routed_ports)},
                           {"exposes", EncodeExposed(endpoint.exposes)},
                           {"netRate", endpoint.rates.rate},
                           {"netCeil", endpoint.rates.ceil},
                           {"cniRuntime", endpoint.cni_runtime},
                           {"cniResult", endpoint.cni_result},
                           {"cniPorts", EncodePorts(endpoint.cni_ports)},
                           {"pluginOptions", endpoint.plugin_options},
                           {"pluginLink", endpoint.plugin_link},
                           {"wantsWayOut", endpoint.wants_way_out},
                           {"ports", EncodePorts(endpoint.ports)}})
      .Dump();
}

namespace {

void ReadIpv6(JsonReader* reader, Endpoint* endpoint) {
  MaybeParsed(reader, "address6", formats::Ipv6Address::Parse, &endpoint->address6);
  MaybeParsed(reader, "gateway6", formats::Ipv6Address::Parse, &endpoint->gateway6);
  uint32_t length = 0;
  Small(reader, "prefixLength6", 128, &length);
  endpoint->prefix_length6 = static_cast<uint8_t>(length);
}

ExposedPort ReadExposed(JsonReader& reader) {
  ExposedPort exposed;
  uint32_t port = 0;
  Small(&reader, "port", std::numeric_limits<uint16_t>::max(), &port);
  Parsed(&reader, "protocol", ParseProtocol, &exposed.protocol);
  exposed.port = static_cast<uint16_t>(port);
  return exposed;
}

}  // namespace

Result<Endpoint> DecodeEndpoint(std::string_view text) {
  Json json = TRY_WITH(Json::Parse(text), "reading an endpoint's record");
  JsonReader reader(json, "endpoint");
  Endpoint endpoint;
  reader.Field("id", &endpoint.id);
  reader.Field("container", &endpoint.container_id);
  reader.Field("network", &endpoint.network_id);
  reader.Field("networkName", &endpoint.network_name);
  reader.Field("hostname", &endpoint.hostname);
  Parsed(&reader, "address", formats::Ipv4Address::Parse, &endpoint.address);
  uint32_t length = 0;
  Small(&reader, "prefixLength", 32, &length);
  endpoint.prefix_length = static_cast<uint8_t>(length);
  Parsed(&reader, "gateway", formats::Ipv4Address::Parse, &endpoint.gateway);
  ReadIpv6(&reader, &endpoint);
  reader.Field("linkLocal", &endpoint.link_local);
  Parsed(&reader, "mac", formats::MacAddress::Parse, &endpoint.mac);
  reader.Field("hostLink", &endpoint.host_link);
  reader.Field("interface", &endpoint.interface);
  reader.Field("netns", &endpoint.netns_path);
  reader.Field("internal", &endpoint.internal);
  reader.Field("byDevice", &endpoint.by_device);
  reader.Field("implicit", &endpoint.implicit);
  reader.Field("gatewayPriority", &endpoint.gateway_priority);
  reader.Field("named", &endpoint.named);
  reader.Field("names", &endpoint.names);
  reader.Field("links", &endpoint.links);
  reader.Field("dns", &endpoint.dns);
  reader.Field("sysctls", &endpoint.sysctls);
  reader.Field("reaches", &endpoint.reaches);
  reader.Objects("exposes",
                 [&](JsonReader& item) { endpoint.exposes.push_back(ReadExposed(item)); });
  reader.Field("netRate", &endpoint.rates.rate);
  reader.Field("netCeil", &endpoint.rates.ceil);
  reader.Field("cniRuntime", &endpoint.cni_runtime);
  reader.Field("cniResult", &endpoint.cni_result);
  reader.Field("pluginOptions", &endpoint.plugin_options);
  reader.Field("pluginLink", &endpoint.plugin_link);
  reader.Field("wantsWayOut", &endpoint.wants_way_out);
  reader.Objects("cniPorts",
                 [&](JsonReader& item) { endpoint.cni_ports.push_back(ReadPort(item)); });
  reader.Objects("routedPorts",
                 [&](JsonReader& item) { endpoint.routed_ports.push_back(ReadPort(item)); });
  reader.Objects("ports", [&](JsonReader& item) { endpoint.ports.push_back(ReadPort(item)); });
  if (endpoint.id.empty() || endpoint.container_id.empty() || endpoint.network_id.empty()) {
    reader.Fail("id", "expected id, container and network");
  }
  TRY(reader.Finish());
  return endpoint;
}

namespace {

class MemoryRecordStore : public RecordStore {
 public:
  Result<> PutEndpoint(const Endpoint& endpoint) override {
    MutexLock lock(mutex_);
    endpoints_[{endpoint.container_id, endpoint.network_id}] = endpoint;
    return {};
  }
  Result<> EraseEndpoint(const std::string& container_id, const std::string& network_id) override {
    MutexLock lock(mutex_);
    endpoints_.erase({container_id, network_id});
    return {};
  }
  Result<std::vector<Endpoint>> ListEndpoints() override {
    MutexLock lock(mutex_);
    std::vector<Endpoint> all;
    for (const auto& [key, endpoint] : endpoints_) all.push_back(endpoint);
    return all;
  }
  Result<> PutNetwork(const Network& network) override {
    MutexLock lock(mutex_);
    networks_[network.id] = network;
    return {};
  }
  Result<> EraseNetwork(const std::string& network_id) override {
    MutexLock lock(mutex_);
    networks_.erase(network_id);
    return {};
  }
  Result<std::vector<Network>> ListNetworks() override {
    MutexLock lock(mutex_);
    std::vector<Network> all;
    for (const auto& [id, network] : networks_) all.push_back(network);
    return all;
  }

 private:
  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, Endpoint> endpoints_ GUARDED_BY(mutex_);
  std::map<std::string, Network> networks_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<RecordStore> MakeMemoryRecordStore() {
  return std::make_unique<MemoryRecordStore>();
}

}  // namespace gantry::networks
