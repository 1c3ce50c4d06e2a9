// SPDX-License-Identifier: Apache-2.0
#include "networks/cni_config.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/directory.h"
#include "base/io.h"
#include "base/number.h"
#include "base/text.h"

namespace gantry::networks {
namespace {

using formats::Json;

constexpr std::string_view kVersions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

// SPEC.md: "Must start with an alphanumeric character, optionally followed by … alphanumeric
// characters, underscore, dot (.) or hyphen (-)".
bool IsName(std::string_view text) {
  auto alphanumeric = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !text.empty() && alphanumeric(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

Result<CniPlugin> ParsePlugin(const Json& json) {
  CniPlugin plugin{json["type"].AsString(), json};
  if (!json.is_object() || !IsName(plugin.type)) {
    return InvalidArgument("CNI configuration: a plugin's type is missing or no name: '{}'",
                           plugin.type);
  }
  return plugin;
}

bool IsConfigFile(std::string_view name) {
  return name.ends_with(".conflist") || name.ends_with(".conf") || name.ends_with(".json");
}

struct Gateways {
  std::string ipv4;
  std::string ipv6;
};

// Of default routes; one without a gateway of its own has that of the address.
void ReadRoutes(const Json& result, Gateways* gateways, const Gateways& of_addresses) {
  for (const Json& route : result["routes"].items()) {
    const std::string& gateway = route["gw"].AsString();
    if (route["dst"].AsString() == "0.0.0.0/0") {
      gateways->ipv4 = gateway.empty() ? of_addresses.ipv4 : gateway;
    }
    if (route["dst"].AsString() == "::/0") {
      gateways->ipv6 = gateway.empty() ? of_addresses.ipv6 : gateway;
    }
  }
}

struct Cidr {
  std::string address;
  uint8_t length = 0;
};

Result<Cidr> ParseCidr(const std::string& text) {
  size_t slash = std::min(text.find('/'), text.size());
  auto length = ParseNumber<uint8_t>(text.substr(std::min(slash + 1, text.size())));
  uint8_t most = text.find(':') == std::string::npos ? 32 : 128;
  if (!length || *length == 0 || *length > most) {
    return InvalidArgument("'{}' is no address with its length", text);
  }
  return Cidr{text.substr(0, slash), *length};
}

Result<> ReadAddress(const Json& item, Endpoint* endpoint, Gateways* gateways) {
  Cidr cidr = TRY(ParseCidr(item["address"].AsString()));
  if (cidr.address.find(':') == std::string::npos) {
    if (endpoint->has_ipv4()) return {};
    endpoint->address = TRY(formats::Ipv4Address::Parse(cidr.address));
    endpoint->prefix_length = cidr.length;
    gateways->ipv4 = item["gateway"].AsString();
  } else if (!endpoint->address6) {
    endpoint->address6 = TRY(formats::Ipv6Address::Parse(cidr.address));
    endpoint->prefix_length6 = cidr.length;
    gateways->ipv6 = item["gateway"].AsString();
  }
  return {};
}

}  // namespace

bool CniConfig::HasVersion(int major, int minor) const {
  std::vector<std::string> parts = Split(version, '.');
  auto number = [&](size_t at) { return at < parts.size() ? std::atoi(parts[at].c_str()) : 0; };
  return number(0) != major ? number(0) > major : number(1) >= minor;
}

bool CniConfig::Takes(std::string_view capability) const {
  return std::any_of(plugins.begin(), plugins.end(), [&](const CniPlugin& plugin) {
    return plugin.config["capabilities"][capability].AsBool();
  });
}

Result<CniConfig> ParseCniConfig(std::string_view text) {
  Json json = TRY_WITH(Json::Parse(text), "CNI configuration");
  CniConfig config;
  config.name = json["name"].AsString();
  config.version = json["cniVersion"].AsString();
  config.disable_check = json["disableCheck"].AsBool();
  config.disable_gc = json["disableGC"].AsBool();
  if (!IsName(config.name)) {
    return InvalidArgument("CNI configuration: the name is missing or no name: '{}'", config.name);
  }
  if (std::find(std::begin(kVersions), std::end(kVersions), config.version) ==
      std::end(kVersions)) {
    return InvalidArgument(
        "CNI configuration {}: version '{}' is none of 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0",
        config.name, config.version);
  }
  if (json.Find("plugins") == nullptr) {
    config.plugins.push_back(TRY(ParsePlugin(json)));
    return config;
  }
  for (const Json& plugin : json["plugins"].items()) {
    config.plugins.push_back(TRY(ParsePlugin(plugin)));
  }
  if (config.plugins.empty()) {
    return InvalidArgument("CNI configuration {}: it has no plugins", config.name);
  }
  return config;
}

Result<std::string> FindCniConfig(const std::string& directory, const std::string& file,
                                  const std::string& name) {
  if (!file.empty()) {
    std::string path = file.find('/') == std::string::npos ? directory + "/" + file : file;
    auto text = ReadFile(path);
    if (text.ok()) return text;
    return InvalidArgument("reading CNI configuration '{}': {}", path, text.error().message());
  }
  std::vector<std::string> files = TRY(ListDirectoryIfThere(directory));
  std::sort(files.begin(), files.end());
  for (const std::string& candidate : files) {
    if (!IsConfigFile(candidate)) continue;
    auto text = ReadFile(directory + "/" + candidate);
    if (!text.ok()) continue;
    // Others' broken files are not this network's matter.
    auto config = ParseCniConfig(*text);
    if (config.ok() && config->name == name) return text;
  }
  return NotFound("no CNI configuration of the name {} in {}", name, directory);
}

Json CniRuntime(const std::vector<std::string>& names, const std::vector<PublishedPort>& ports,
                const std::optional<formats::MacAddress>& mac,
                const std::vector<std::string>& addresses) {
  Json runtime = Json::MakeObject();
  if (!names.empty()) runtime.Set("aliases", names);
  if (mac) runtime.Set("mac", mac->ToString());
  if (!addresses.empty()) runtime.Set("ips", addresses);
  if (ports.empty()) return runtime;
  Json mappings = Json::MakeArray();
  for (const PublishedPort& port : ports) {
    Json mapping = Json::MakeObject({{"hostPort", int{port.host_port}},
                                     {"containerPort", int{port.container_port}},
                                     {"protocol", ProtocolName(port.protocol)}});
    if (port.host_ip != "0.0.0.0") mapping.Set("hostIP", port.host_ip);
    mappings.Append(std::move(mapping));
  }
  runtime.Set("portMappings", std::move(mappings));
  return runtime;
}

std::string CniInput(const CniConfig& config, const CniPlugin& plugin, const Json& runtime,
                     const Json& previous) {
  Json input = plugin.config;
  input.Set("cniVersion", config.version);
  input.Set("name", config.name);
  Json given = Json::MakeObject();
  for (const auto& [capability, value] : runtime.members()) {
    if (plugin.config["capabilities"][capability].AsBool()) given.Set(capability, value);
  }
  input.Erase("capabilities");
  if (given.size() > 0) input.Set("runtimeConfig", std::move(given));
  if (!previous.is_null()) input.Set("prevResult", previous);
  return input.Dump();
}

Result<> ReadCniResult(const Json& result, Endpoint* endpoint) {
  if (!result.is_object()) return Internal("the CNI plugins gave no result");
  // Those of an ADD before, if it is made again.
  endpoint->address = endpoint->gateway = {};
  endpoint->prefix_length = endpoint->prefix_length6 = 0;
  endpoint->address6.reset();
  endpoint->gateway6.reset();
  const Json::Array& interfaces = result["interfaces"].items();
  // One without a sandbox is on the host.
  auto is_ours = [&](const Json& interface) {
    return interface["name"].AsString() == endpoint->interface &&
           !interface["sandbox"].AsString().empty();
  };
  for (const Json& interface : interfaces) {
    if (!is_ours(interface) || interface["mac"].AsString().empty()) continue;
    endpoint->mac = TRY(formats::MacAddress::Parse(interface["mac"].AsString()));
  }
  Gateways of_addresses, gateways;
  for (const Json& item : result["ips"].items()) {
    const Json* index = item.Find("interface");
    if (index != nullptr && index->is_integer() &&
        !is_ours(result["interfaces"].at(static_cast<size_t>(index->AsInt())))) {
      continue;
    }
    TRY_WITH(ReadAddress(item, endpoint, &of_addresses), "reading a CNI plugin's result");
  }
  ReadRoutes(result, &gateways, of_addresses);
  if (endpoint->has_ipv4() && !gateways.ipv4.empty()) {
    endpoint->gateway = TRY(formats::Ipv4Address::Parse(gateways.ipv4));
  }
  if (endpoint->address6 && !gateways.ipv6.empty()) {
    endpoint->gateway6 = TRY(formats::Ipv6Address::Parse(gateways.ipv6));
  }
  if (endpoint->dns.empty()) {
    for (const Json& server : result["dns"]["nameservers"].items()) {
      endpoint->dns.push_back(server.AsString());
    }
  }
  return {};
}

Error CniFailure(std::string_view type, std::string_view command, std::string_view output,
                 std::string_view errors) {
  std::string why(Trim(errors));
  auto said = Json::Parse(output);
  if (said.ok() && !(*said)["msg"].AsString().empty()) {
    why = (*said)["msg"].AsString();
    if (!(*said)["details"].AsString().empty()) why += "; " + (*said)["details"].AsString();
  } else if (why.empty()) {
    why = std::string(Trim(output));
  }
  return FailedPrecondition("CNI plugin {} failed ({}): {}", type, Lower(command),
                            why.empty() ? "it says nothing" : why);
}

}  // namespace gantry::networks
