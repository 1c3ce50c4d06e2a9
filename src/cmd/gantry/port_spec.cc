// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/port_spec.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/text.h"

namespace gantry::cli {
namespace {

using formats::Json;

struct PortRange {
  unsigned first = 0;
  unsigned last = 0;
  unsigned size() const { return last - first + 1; }
};

std::optional<unsigned> ParsePort(std::string_view text) {
  unsigned port = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || stop != end || port > 65535) return std::nullopt;
  return port;
}

std::optional<PortRange> ParseRange(std::string_view text) {
  size_t dash = text.find('-');
  std::optional<unsigned> first = ParsePort(text.substr(0, dash));
  std::optional<unsigned> last =
      dash == std::string_view::npos ? first : ParsePort(text.substr(dash + 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return PortRange{*first, *last};
}

bool IsAddress(const std::string& text) {
  unsigned char buffer[16];
  std::string bare = text.substr(0, text.find('%'));
  return ::inet_pton(AF_INET, text.c_str(), buffer) == 1 ||
         ::inet_pton(AF_INET6, bare.c_str(), buffer) == 1;
}

// "tcp" from "80/TCP"; cuts it off.
Result<std::string> TakeProtocol(std::string* spec) {
  size_t slash = spec->rfind('/');
  if (slash == std::string::npos) return std::string("tcp");
  std::string protocol = Lower(spec->substr(slash + 1));
  spec->resize(slash);
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") {
    return InvalidArgument("invalid proto: {}", protocol);
  }
  return protocol;
}

}  // namespace

Result<> AddPublished(const std::string& spec, Json* exposed, Json* bindings) {
  std::string rest = spec;
  std::string protocol = TRY(TakeProtocol(&rest));
  size_t last_colon = rest.rfind(':');
  std::string container = last_colon == std::string::npos ? rest : rest.substr(last_colon + 1);
  std::string front = last_colon == std::string::npos ? "" : rest.substr(0, last_colon);
  std::string ip;
  std::string host = front;
  // The host's port is behind the last colon; all before it is the address.
  if (size_t colon = front.rfind(':'); colon != std::string::npos) {
    ip = front.substr(0, colon);
    host = front.substr(colon + 1);
    if (ip.size() > 1 && ip.front() == '[' && ip.back() == ']') ip = ip.substr(1, ip.size() - 2);
    if (!ip.empty() && !IsAddress(ip)) return InvalidArgument("invalid IP address: {}", ip);
  }
  if (container.empty()) return InvalidArgument("no port specified: {}<empty>", spec);
  std::optional<PortRange> inside = ParseRange(container);
  if (!inside) return InvalidArgument("invalid containerPort: {}", container);
  std::optional<PortRange> outside;
  if (!host.empty()) {
    outside = ParseRange(host);
    if (!outside) return InvalidArgument("invalid hostPort: {}", host);
    // One port inside may take any one of a range outside.
    if (outside->size() != inside->size() && inside->size() != 1) {
      return InvalidArgument("invalid ranges specified for container and host Ports: {} and {}",
                             container, host);
    }
  }
  // Nothing has to be looked for then, which counts when a range is all ports.
  bool first = exposed->size() == 0 && bindings->size() == 0;
  for (unsigned i = 0; i < inside->size(); ++i) {
    std::string key = fmt::format("{}/{}", inside->first + i, protocol);
    std::string host_port;
    if (outside && outside->size() == inside->size()) {
      host_port = fmt::format("{}", outside->first + i);
    } else if (outside) {
      host_port = fmt::format("{}-{}", outside->first, outside->last);
    }
    Json binding = Json::MakeObject({{"HostIp", ip}, {"HostPort", host_port}});
    if (first) {
      exposed->mutable_members().emplace_back(key, Json::MakeObject());
      bindings->mutable_members().emplace_back(key, Json::MakeArray({binding}));
    } else {
      exposed->Set(key, Json::MakeObject());
      bindings->MutableMember(key).Append(std::move(binding));
    }
  }
  return {};
}

Result<> AddExposed(const std::string& spec, Json* exposed) {
  std::string rest = spec;
  if (rest.find(':') != std::string::npos) {
    return InvalidArgument("invalid port format for --expose: {}", spec);
  }
  std::string protocol = TRY(TakeProtocol(&rest));
  std::optional<PortRange> range = ParseRange(rest);
  if (!range) return InvalidArgument("invalid range format for --expose: {}", spec);
  for (unsigned port = range->first; port <= range->last; ++port) {
    exposed->Set(fmt::format("{}/{}", port, protocol), Json::MakeObject());
  }
  return {};
}

}  // namespace gantry::cli
