// SPDX-License-Identifier: Apache-2.0
#include "networks/records.h"

#include <limits>
#include <utility>

#include "base/mutex.h"
#include "formats/json.h"

namespace gantry::networks {

using formats::Json;
using formats::JsonReader;

std::string_view ProtocolName(Protocol protocol) {
  return protocol == Protocol::kUdp ? "udp" : "tcp";
}

Result<Protocol> ParseProtocol(std::string_view name) {
  if (name == "tcp" || name.empty()) return Protocol::kTcp;
  if (name == "udp") return Protocol::kUdp;
  return InvalidArgument("invalid proto: {}", name);
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

void ReadAddresses(JsonReader* reader, Network* network) {
  std::string range;
  reader->Field("range", &range);
  if (!range.empty()) {
    formats::Ipv4Prefix parsed;
    Parsed(reader, "range", formats::Ipv4Prefix::Parse, &parsed);
    network->ip_range = parsed;
  }
  std::vector<std::string> auxiliary;
  reader->Field("auxiliary", &auxiliary);
  for (const std::string& text : auxiliary) {
    auto address = formats::Ipv4Address::Parse(text);
    if (!address.ok()) return reader->Fail("auxiliary", address.error().message());
    network->auxiliary.push_back(*address);
  }
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

}  // namespace

std::string EncodeNetwork(const Network& network) {
  Json auxiliary = Json::MakeArray();
  for (const auto& address : network.auxiliary) auxiliary.Append(address.ToString());
  return Json::MakeObject({{"id", network.id},
                           {"name", network.name},
                           {"driver", network.driver},
                           {"bridge", network.bridge},
                           {"subnet", network.subnet.ToString()},
                           {"gateway", network.gateway.ToString()},
                           {"range", network.ip_range ? network.ip_range->ToString() : ""},
                           {"auxiliary", std::move(auxiliary)},
                           {"ipam", EncodeIpam(network.ipam)},
                           {"ipamOptions", network.ipam_options},
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
                           {"created", FormatRfc3339Nano(network.created)}})
      .Dump();
}

Result<Network> DecodeNetwork(std::string_view text) {
  Json json = TRY_WITH(Json::Parse(text), "reading a network's record");
  JsonReader reader(json, "network");
  Network network;
  reader.Field("id", &network.id);
  reader.Field("name", &network.name);
  reader.Field("driver", &network.driver);
  reader.Field("bridge", &network.bridge);
  Parsed(&reader, "subnet", formats::Ipv4Prefix::Parse, &network.subnet);
  Parsed(&reader, "gateway", formats::Ipv4Address::Parse, &network.gateway);
  ReadAddresses(&reader, &network);
  reader.Field("mtu", &network.mtu);
  reader.Field("internal", &network.internal);
  reader.Field("icc", &network.icc);
  reader.Field("masquerade", &network.masquerade);
  reader.Field("default", &network.is_default);
  reader.Field("attachable", &network.attachable);
  reader.Field("foreignBridge", &network.foreign_bridge);
  reader.Field("hostBinding", &network.host_binding);
  reader.Field("options", &network.options);
  reader.Field("labels", &network.labels);
  Parsed(&reader, "created", ParseRfc3339, &network.created);
  if (network.id.empty() || network.bridge.empty()) reader.Fail("id", "expected id and bridge");
  TRY(reader.Finish());
  return network;
}

std::string EncodeEndpoint(const Endpoint& endpoint) {
  Json ports = Json::MakeArray();
  for (const PublishedPort& port : endpoint.ports) {
    ports.Append(Json::MakeObject({{"hostIp", port.host_ip},
                                   {"hostPort", int{port.host_port}},
                                   {"containerPort", int{port.container_port}},
                                   {"protocol", ProtocolName(port.protocol)}}));
  }
  return Json::MakeObject({{"id", endpoint.id},
                           {"container", endpoint.container_id},
                           {"network", endpoint.network_id},
                           {"networkName", endpoint.network_name},
                           {"hostname", endpoint.hostname},
                           {"address", endpoint.address.ToString()},
                           {"prefixLength", int{endpoint.prefix_length}},
                           {"gateway", endpoint.gateway.ToString()},
                           {"mac", endpoint.mac.ToString()},
                           {"hostLink", endpoint.host_link},
                           {"interface", endpoint.interface},
                           {"netns", endpoint.netns_path},
                           {"internal", endpoint.internal},
                           {"gatewayPriority", endpoint.gateway_priority},
                           {"named", endpoint.named},
                           {"names", endpoint.names},
                           {"links", endpoint.links},
                           {"dns", endpoint.dns},
                           {"ports", std::move(ports)}})
      .Dump();
}

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
  Parsed(&reader, "mac", formats::MacAddress::Parse, &endpoint.mac);
  reader.Field("hostLink", &endpoint.host_link);
  reader.Field("interface", &endpoint.interface);
  reader.Field("netns", &endpoint.netns_path);
  reader.Field("internal", &endpoint.internal);
  reader.Field("gatewayPriority", &endpoint.gateway_priority);
  reader.Field("named", &endpoint.named);
  reader.Field("names", &endpoint.names);
  reader.Field("links", &endpoint.links);
  reader.Field("dns", &endpoint.dns);
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
