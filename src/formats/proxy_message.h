// SPDX-License-Identifier: Apache-2.0
//
// What the engine and gantry-proxy say to each other on proxy.sock (docs/port-proxy.md,
// docs/resolver.md): each
// message is its length (4 bytes, network order), then that many bytes of JSON. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::formats {

inline constexpr size_t kMaxProxyMessageBytes = size_t{4} << 20;

// One published port: the same host port on each of `addresses`.
struct ProxyListener {
  std::string protocol;                // "tcp", "udp" or "sctp"
  std::vector<std::string> addresses;  // "0.0.0.0", "::", …
  uint16_t first_port = 0;             // 0: any of ip_local_port_range
  uint16_t last_port = 0;              // one of first…last
  std::string target_address;
  uint16_t target_port = 0;
  bool operator==(const ProxyListener&) const = default;
};

// Where a resolver asks what it does not know.
struct ProxyServer {
  std::string address;
  bool host = false;  // from the host's namespace, not the container's
  bool operator==(const ProxyServer&) const = default;
};
struct ProxyLink {
  std::string alias;
  std::string name;
  bool operator==(const ProxyLink&) const = default;
};
// A container that asks; docs/resolver.md. Without networks: it is forgotten.
struct ProxyResolver {
  std::string owner;
  std::vector<std::string> networks;
  std::vector<ProxyLink> links;
  std::vector<ProxyServer> servers;
  bool outside = false;
  bool operator==(const ProxyResolver&) const = default;
};
// Whom names stand for. Without names: it is forgotten.
struct ProxyEndpoint {
  std::string owner;
  std::string network;
  std::string network_name;
  std::string address;  // "": none of IPv4
  std::vector<std::string> names;
  std::string address6;  // "": none of IPv6
  bool operator==(const ProxyEndpoint&) const = default;
};

enum class ProxyOperation { kSet, kList, kStop, kResolver, kEndpoint, kNames };

struct ProxyRequest {
  ProxyOperation operation = ProxyOperation::kList;
  std::string owner;                     // kSet: whose listeners these are from now on, all of them
  std::vector<ProxyListener> listeners;  // kSet: empty removes the owner
  ProxyResolver resolver;                // kResolver
  ProxyEndpoint endpoint;                // kEndpoint
};

struct ProxyOwner {
  std::string owner;
  std::vector<ProxyListener> listeners;  // first_port == last_port: the port that was taken
};

// Why a kSet or a kResolver was refused; nothing of it was done.
struct ProxyFailure {
  uint32_t listener = 0;  // index in the request
  std::string address;
  uint16_t port = 0;
  int error_number = 0;
  std::string holder;  // the owner that has the port already; "" for another program
  std::string message;
};

struct ProxyReply {
  std::optional<ProxyFailure> failure;
  std::vector<uint16_t> ports;           // kSet: the port of each listener
  std::vector<ProxyOwner> owners;        // kList
  std::vector<ProxyResolver> resolvers;  // kNames
  std::vector<ProxyEndpoint> endpoints;  // kNames
};

// With the length in front.
std::string EncodeProxyRequest(const ProxyRequest& request);
std::string EncodeProxyReply(const ProxyReply& reply);
// Without it.
Result<ProxyRequest> DecodeProxyRequest(std::string_view json);
Result<ProxyReply> DecodeProxyReply(std::string_view json);

// The length that a message begins with; kInvalidArgument beyond kMaxProxyMessageBytes. Needs four
// bytes.
Result<size_t> ProxyMessageSize(std::string_view start);

}  // namespace gantry::formats
