// SPDX-License-Identifier: Apache-2.0
#include "engine/links.h"

#include <algorithm>
#include <tuple>

#include "base/text.h"
#include "engine/port_bindings.h"

namespace gantry::engine {
namespace {

// Variables that say where the other one is, not what it is.
bool IsPassedOn(std::string_view variable) {
  for (std::string_view own : {"HOME=", "PATH="}) {
    if (variable.starts_with(own)) return false;
  }
  return true;
}

std::string Prefix(const std::string& alias) {
  std::string out = Upper(alias);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

void AddPort(const std::string& variable, const std::string& address,
             const networks::ExposedPort& port, std::vector<std::string>* out) {
  std::string_view protocol = networks::ProtocolName(port.protocol);
  out->push_back(fmt::format("{}={}://{}:{}", variable, protocol, address, port.port));
  out->push_back(fmt::format("{}_ADDR={}", variable, address));
  out->push_back(fmt::format("{}_PORT={}", variable, port.port));
  out->push_back(fmt::format("{}_PROTO={}", variable, protocol));
}

}  // namespace

std::pair<std::string, std::string> ParseLink(std::string_view text) {
  auto last = [](std::string_view part) { return std::string(part.substr(part.rfind('/') + 1)); };
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return {last(text), last(text)};
  return {last(text.substr(0, colon)), last(text.substr(colon + 1))};
}

std::vector<networks::ExposedPort> ExposedPorts(const ContainerRecord& record) {
  std::vector<networks::ExposedPort> ports;
  auto take = [&](const std::string& text) {
    auto port = ParseContainerPort(text);
    if (port.ok()) ports.push_back({port->port, port->protocol});  // checked at create
  };
  for (const std::string& text : record.config.exposed_ports.names) take(text);
  for (const auto& [text, bindings] : record.host.port_bindings) take(text);
  auto key = [](const networks::ExposedPort& port) {
    return std::tuple(port.protocol != networks::Protocol::kTcp, port.port, port.protocol);
  };
  std::sort(ports.begin(), ports.end(),
            [&](const auto& a, const auto& b) { return key(a) < key(b); });
  auto same = [&](const auto& a, const auto& b) { return key(a) == key(b); };
  ports.erase(std::unique(ports.begin(), ports.end(), same), ports.end());
  return ports;
}

std::string LinkHosts(const std::vector<LinkedContainer>& links) {
  std::string out;
  for (const LinkedContainer& link : links) {
    std::string names = link.alias + " " + link.record->hostname;
    if (link.record->name != link.alias) names += " " + link.record->name;
    if (link.endpoint.has_ipv4()) out += link.endpoint.address.ToString() + "\t" + names + "\n";
    if (link.endpoint.address6) out += link.endpoint.address6->ToString() + "\t" + names + "\n";
  }
  return out;
}

std::vector<std::string> LinkEnvironment(const std::string& name,
                                         const std::vector<LinkedContainer>& links) {
  std::vector<std::string> out;
  for (const LinkedContainer& link : links) {
    std::string prefix = Prefix(link.alias);
    std::string address = link.endpoint.address.ToString();
    std::vector<networks::ExposedPort> ports = ExposedPorts(*link.record);
    if (!ports.empty()) {
      out.push_back(fmt::format("{}_PORT={}://{}:{}", prefix,
                                networks::ProtocolName(ports[0].protocol), address, ports[0].port));
    }
    for (const networks::ExposedPort& port : ports) {
      std::string protocol = Prefix(std::string(networks::ProtocolName(port.protocol)));
      AddPort(fmt::format("{}_PORT_{}_{}", prefix, port.port, protocol), address, port, &out);
    }
    out.push_back(fmt::format("{}_NAME=/{}/{}", prefix, name, link.alias));
    for (const std::string& variable : link.record->config.env) {
      bool whole = variable.find('=') != std::string::npos;
      if (whole && IsPassedOn(variable)) out.push_back(fmt::format("{}_ENV_{}", prefix, variable));
    }
  }
  return out;
}

}  // namespace gantry::engine
