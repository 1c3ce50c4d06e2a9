// SPDX-License-Identifier: Apache-2.0
#include "engine/port_bindings.h"

#include <algorithm>
#include <charconv>

namespace gantry::engine {
namespace {

Result<uint16_t> ParsePort(std::string_view text, std::string_view whole) {
  uint16_t port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument("invalid port specification: \"{}\"", whole);
  }
  return port;
}

}  // namespace

Result<ContainerPort> ParseContainerPort(std::string_view text) {
  size_t slash = std::min(text.find('/'), text.size());
  ContainerPort out;
  out.port = TRY(ParsePort(text.substr(0, slash), text));
  if (out.port == 0) return InvalidArgument("invalid port specification: \"{}\"", text);
  if (slash < text.size()) out.protocol = TRY(networks::ParseProtocol(text.substr(slash + 1)));
  return out;
}

Result<std::vector<networks::PortRequest>> ParsePortBindings(const ContainerConfig& config,
                                                             const HostConfig& host) {
  std::vector<networks::PortRequest> out;
  for (const auto& [text, bindings] : host.port_bindings) {
    ContainerPort port = TRY(ParseContainerPort(text));
    for (const PortBinding& binding : bindings) {
      networks::PortRequest request;
      request.host_ip = binding.host_ip;
      request.container_port = port.port;
      request.protocol = port.protocol;
      if (!binding.host_port.empty()) {
        std::string_view range = binding.host_port;
        size_t dash = std::min(range.find('-'), range.size());
        request.host_port_first = TRY(ParsePort(range.substr(0, dash), range));
        if (dash < range.size()) {
          request.host_port_last = TRY(ParsePort(range.substr(dash + 1), range));
          if (request.host_port_last < request.host_port_first) {
            return InvalidArgument("invalid port specification: \"{}\"", range);
          }
        }
      }
      out.push_back(std::move(request));
    }
  }
  if (!host.publish_all_ports) return out;
  for (const std::string& exposed : config.exposed_ports.names) {
    if (host.port_bindings.contains(exposed)) continue;
    ContainerPort port = TRY(ParseContainerPort(exposed));
    networks::PortRequest request;
    request.container_port = port.port;
    request.protocol = port.protocol;
    out.push_back(std::move(request));
  }
  return out;
}

}  // namespace gantry::engine
