// SPDX-License-Identifier: Apache-2.0
#include "formats/proxy_message.h"

#include <limits>

#include "formats/json.h"

namespace gantry::formats {
namespace {

constexpr int kVersion = 1;

std::string Frame(const Json& json) {
  std::string body = json.Dump();
  uint32_t size = static_cast<uint32_t>(body.size());
  std::string frame{static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                    static_cast<char>(size >> 8), static_cast<char>(size)};
  return frame + body;
}

std::string_view OperationName(ProxyOperation operation) {
  switch (operation) {
    case ProxyOperation::kSet:
      return "set";
    case ProxyOperation::kList:
      return "list";
    case ProxyOperation::kStop:
      return "stop";
    case ProxyOperation::kResolver:
      return "resolver";
    case ProxyOperation::kEndpoint:
      return "endpoint";
    case ProxyOperation::kNames:
      return "names";
  }
  return "";
}

Json EncodeListeners(const std::vector<ProxyListener>& listeners) {
  Json array = Json::MakeArray();
  for (const ProxyListener& listener : listeners) {
    array.Append(Json::MakeObject({{"protocol", listener.protocol},
                                   {"addresses", listener.addresses},
                                   {"first", int{listener.first_port}},
                                   {"last", int{listener.last_port}},
                                   {"target", listener.target_address},
                                   {"targetPort", int{listener.target_port}}}));
  }
  return array;
}

void ReadPort(JsonReader* reader, std::string_view key, uint16_t* out) {
  uint32_t value = 0;
  reader->Field(key, &value);
  if (value > std::numeric_limits<uint16_t>::max()) return reader->Fail(key, "not a port");
  *out = static_cast<uint16_t>(value);
}

void ReadListeners(JsonReader* reader, std::vector<ProxyListener>* out) {
  reader->Objects("listeners", [&](JsonReader& item) {
    ProxyListener listener;
    item.Field("protocol", &listener.protocol);
    item.Field("addresses", &listener.addresses);
    ReadPort(&item, "first", &listener.first_port);
    ReadPort(&item, "last", &listener.last_port);
    item.Field("target", &listener.target_address);
    ReadPort(&item, "targetPort", &listener.target_port);
    const std::string& protocol = listener.protocol;
    if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") {
      item.Fail("protocol", "expected tcp, udp or sctp");
    }
    if (listener.addresses.empty()) item.Fail("addresses", "expected at least one");
    if (listener.last_port < listener.first_port) item.Fail("last", "less than first");
    if (listener.first_port == 0 && listener.last_port != 0) item.Fail("first", "expected a port");
    if (listener.target_port == 0) item.Fail("targetPort", "expected a port");
    out->push_back(std::move(listener));
  });
}

void AddResolver(const ProxyResolver& resolver, Json* out) {
  Json links = Json::MakeArray();
  for (const ProxyLink& link : resolver.links) {
    links.Append(Json::MakeObject({{"alias", link.alias}, {"name", link.name}}));
  }
  Json servers = Json::MakeArray();
  for (const ProxyServer& server : resolver.servers) {
    servers.Append(Json::MakeObject({{"address", server.address}, {"host", server.host}}));
  }
  out->Set("owner", resolver.owner);
  out->Set("networks", resolver.networks);
  out->Set("links", std::move(links));
  out->Set("servers", std::move(servers));
  out->Set("outside", resolver.outside);
}

void AddEndpoint(const ProxyEndpoint& endpoint, Json* out) {
  out->Set("owner", endpoint.owner);
  out->Set("network", endpoint.network);
  out->Set("networkName", endpoint.network_name);
  out->Set("address", endpoint.address);
  out->Set("address6", endpoint.address6);
  out->Set("names", endpoint.names);
}

void ReadOwner(JsonReader* reader, std::string* owner) {
  reader->Field("owner", owner);
  if (owner->empty()) reader->Fail("owner", "expected a name");
}

void ReadResolver(JsonReader* reader, ProxyResolver* out) {
  ReadOwner(reader, &out->owner);
  reader->Field("networks", &out->networks);
  reader->Objects("links", [&](JsonReader& item) {
    ProxyLink& link = out->links.emplace_back();
    item.Field("alias", &link.alias);
    item.Field("name", &link.name);
  });
  reader->Objects("servers", [&](JsonReader& item) {
    ProxyServer& server = out->servers.emplace_back();
    item.Field("address", &server.address);
    item.Field("host", &server.host);
  });
  reader->Field("outside", &out->outside);
}

void ReadEndpoint(JsonReader* reader, ProxyEndpoint* out) {
  ReadOwner(reader, &out->owner);
  reader->Field("network", &out->network);
  reader->Field("networkName", &out->network_name);
  reader->Field("address", &out->address);
  reader->Field("address6", &out->address6);
  reader->Field("names", &out->names);
}

Result<Json> ParseVersioned(std::string_view text) {
  Json json = TRY(Json::Parse(text));
  if (json["version"].AsInt() != kVersion) {
    return InvalidArgument("version: expected {}", kVersion);
  }
  return json;
}

}  // namespace

std::string EncodeProxyRequest(const ProxyRequest& request) {
  Json json =
      Json::MakeObject({{"version", kVersion}, {"operation", OperationName(request.operation)}});
  if (request.operation == ProxyOperation::kSet) {
    json.Set("owner", request.owner);
    json.Set("listeners", EncodeListeners(request.listeners));
  }
  if (request.operation == ProxyOperation::kResolver) AddResolver(request.resolver, &json);
  if (request.operation == ProxyOperation::kEndpoint) AddEndpoint(request.endpoint, &json);
  return Frame(json);
}

std::string EncodeProxyReply(const ProxyReply& reply) {
  Json json = Json::MakeObject({{"version", kVersion}});
  if (reply.failure) {
    const ProxyFailure& failure = *reply.failure;
    json.Set("failure", Json::MakeObject({{"listener", failure.listener},
                                          {"address", failure.address},
                                          {"port", int{failure.port}},
                                          {"errno", failure.error_number},
                                          {"holder", failure.holder},
                                          {"message", failure.message}}));
    return Frame(json);
  }
  Json ports = Json::MakeArray();
  for (uint16_t port : reply.ports) ports.Append(int{port});
  json.Set("ports", std::move(ports));
  Json owners = Json::MakeArray();
  for (const ProxyOwner& owner : reply.owners) {
    owners.Append(Json::MakeObject(
        {{"owner", owner.owner}, {"listeners", EncodeListeners(owner.listeners)}}));
  }
  json.Set("owners", std::move(owners));
  if (reply.resolvers.empty() && reply.endpoints.empty()) return Frame(json);
  Json resolvers = Json::MakeArray();
  for (const ProxyResolver& resolver : reply.resolvers) {
    AddResolver(resolver, &resolvers.mutable_items().emplace_back());
  }
  json.Set("resolvers", std::move(resolvers));
  Json endpoints = Json::MakeArray();
  for (const ProxyEndpoint& endpoint : reply.endpoints) {
    AddEndpoint(endpoint, &endpoints.mutable_items().emplace_back());
  }
  json.Set("endpoints", std::move(endpoints));
  return Frame(json);
}

Result<ProxyRequest> DecodeProxyRequest(std::string_view text) {
  Json json = TRY_WITH(ParseVersioned(text), "reading a proxy request");
  ProxyRequest request;
  JsonReader reader(json, "request");
  std::string operation;
  reader.Field("operation", &operation);
  if (operation == "set") {
    request.operation = ProxyOperation::kSet;
    reader.Field("owner", &request.owner);
    if (request.owner.empty()) reader.Fail("owner", "expected a name");
    ReadListeners(&reader, &request.listeners);
  } else if (operation == "stop") {
    request.operation = ProxyOperation::kStop;
  } else if (operation == "resolver") {
    request.operation = ProxyOperation::kResolver;
    ReadResolver(&reader, &request.resolver);
  } else if (operation == "endpoint") {
    request.operation = ProxyOperation::kEndpoint;
    ReadEndpoint(&reader, &request.endpoint);
  } else if (operation == "names") {
    request.operation = ProxyOperation::kNames;
  } else if (operation != "list") {
    reader.Fail("operation", "expected set, list, stop, resolver, endpoint or names");
  }
  TRY(reader.Finish());
  return request;
}

Result<ProxyReply> DecodeProxyReply(std::string_view text) {
  Json json = TRY_WITH(ParseVersioned(text), "reading the proxy's answer");
  ProxyReply reply;
  JsonReader reader(json, "reply");
  reader.Object("failure", [&](JsonReader& item) {
    ProxyFailure failure;
    item.Field("listener", &failure.listener);
    item.Field("address", &failure.address);
    ReadPort(&item, "port", &failure.port);
    item.Field("errno", &failure.error_number);
    item.Field("holder", &failure.holder);
    item.Field("message", &failure.message);
    reply.failure = std::move(failure);
  });
  std::vector<uint32_t> ports;
  reader.Field("ports", &ports);
  for (uint32_t port : ports) {
    if (port > std::numeric_limits<uint16_t>::max()) reader.Fail("ports", "not a port");
    reply.ports.push_back(static_cast<uint16_t>(port));
  }
  reader.Objects("owners", [&](JsonReader& item) {
    ProxyOwner owner;
    item.Field("owner", &owner.owner);
    ReadListeners(&item, &owner.listeners);
    reply.owners.push_back(std::move(owner));
  });
  reader.Objects("resolvers",
                 [&](JsonReader& item) { ReadResolver(&item, &reply.resolvers.emplace_back()); });
  reader.Objects("endpoints",
                 [&](JsonReader& item) { ReadEndpoint(&item, &reply.endpoints.emplace_back()); });
  TRY(reader.Finish());
  return reply;
}

Result<size_t> ProxyMessageSize(std::string_view start) {
  CHECK(start.size() >= 4);
  auto byte = [&](size_t i) { return size_t{static_cast<uint8_t>(start[i])}; };
  size_t size = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
  if (size > kMaxProxyMessageBytes) {
    return InvalidArgument("proxy message of {} bytes is longer than {}", size,
                           kMaxProxyMessageBytes);
  }
  return size;
}

}  // namespace gantry::formats
