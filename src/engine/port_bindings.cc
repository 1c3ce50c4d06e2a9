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

namespace {

constexpr const char* kChangeField = "GantryPublish";

std::string Spec(const std::string& port, const PortBinding& binding) {
  std::string ip = binding.host_ip.empty() ? "" : binding.host_ip + ":";
  return fmt::format("{}{}:{}", ip, binding.host_port, port);
}

Result<std::map<std::string, std::vector<PortBinding>>> BindingsIn(const formats::Json& change,
                                                                   const char* field) {
  HostConfig parsed =
      TRY(ParseHostConfig(formats::Json::MakeObject({{"PortBindings", change[field]}})));
  for (const auto& [port, bindings] : parsed.port_bindings) TRY(ParseContainerPort(port));
  return std::move(parsed.port_bindings);
}

Result<> RemoveBinding(const std::string& port, const PortBinding& gone, HostConfig* host) {
  auto found = host->port_bindings.find(port);
  size_t removed = 0;
  if (found != host->port_bindings.end()) {
    removed = std::erase_if(found->second, [&](const PortBinding& binding) {
      return (gone.host_ip.empty() || gone.host_ip == binding.host_ip) &&
             (gone.host_port.empty() || gone.host_port == binding.host_port);
    });
    if (found->second.empty()) host->port_bindings.erase(found);
  }
  if (removed == 0) return InvalidArgument("port {} is not published", Spec(port, gone));
  return {};
}

}  // namespace

Result<bool> ChangePortBindings(const formats::Json& update, HostConfig* host) {
  const formats::Json& change = update[kChangeField];
  if (change.is_null()) return false;
  if (!change.is_object()) return InvalidArgument("{} is no object", kChangeField);
  for (const auto& [port, bindings] : TRY(BindingsIn(change, "Remove"))) {
    for (const PortBinding& gone : bindings) TRY(RemoveBinding(port, gone, host));
  }
  for (const auto& [port, bindings] : TRY(BindingsIn(change, "Add"))) {
    std::vector<PortBinding>& present = host->port_bindings[port];
    for (const PortBinding& added : bindings) {
      for (const PortBinding& other : present) {
        if (other.host_ip == added.host_ip && other.host_port == added.host_port) {
          return InvalidArgument("port {} is published already", Spec(port, added));
        }
      }
      present.push_back(added);
    }
  }
  return true;
}

}  // namespace gantry::engine
