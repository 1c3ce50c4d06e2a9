// SPDX-License-Identifier: Apache-2.0
//
// CNI's documents (github.com/containernetworking/cni, SPEC.md, versions 0.3.0 to 1.1.0): network
// configurations, what plugins are told, what they answer. Pure but for FindCniConfig; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/ip_address.h"
#include "formats/json.h"
#include "networks/records.h"

namespace gantry::networks {

struct CniPlugin {
  std::string type;      // the executable's name
  formats::Json config;  // its part of the configuration, as it is written
};

// A list of plugins, or one alone.
struct CniConfig {
  std::string version;
  std::string name;
  bool disable_check = false;
  bool disable_gc = false;
  std::vector<CniPlugin> plugins;  // in the order of ADD

  // "0.4.0" and later have it.
  bool HasVersion(int major, int minor) const;
  // A plugin says `"capabilities": {NAME: true}`.
  bool Takes(std::string_view capability) const;
};
Result<CniConfig> ParseCniConfig(std::string_view text);

// The text of a configuration: of the file that is named (a name without slash is one of
// `directory`), else of the first of `directory`, by name, that is of the network `name`.
Result<std::string> FindCniConfig(const std::string& directory, const std::string& file,
                                  const std::string& name);

// What concerns one attachment: the members of `runtimeConfig`, each for plugins of that
// capability.
formats::Json CniRuntime(const std::vector<std::string>& names,
                         const std::vector<PublishedPort>& ports,
                         const std::optional<formats::MacAddress>& mac,
                         const std::vector<std::string>& addresses);

// The standard input of one plugin. `previous` is the result so far; null: none.
std::string CniInput(const CniConfig& config, const CniPlugin& plugin, const formats::Json& runtime,
                     const formats::Json& previous);

// What an ADD gave the interface `name`: its addresses, gateways and MAC address go into the
// endpoint. Addresses after the first of a family are the plugin's matter.
Result<> ReadCniResult(const formats::Json& result, Endpoint* endpoint);

// "plugin bridge failed (add): MESSAGE; DETAILS", of what a plugin printed on its outputs.
Error CniFailure(std::string_view type, std::string_view command, std::string_view output,
                 std::string_view errors);

}  // namespace gantry::networks
