// SPDX-License-Identifier: Apache-2.0
//
// CLI plugins: programs named docker-NAME that add `gantry NAME`, found and called as docker's
// command line does it (docker/cli, docs/extend/cli_plugins.md). One thread.
//
//   docker-NAME docker-cli-plugin-metadata          says what it is, as JSON
//   docker-NAME [GLOBAL OPTIONS] NAME ARG…          runs it
//   docker-NAME __complete NAME ARG…                completes a word
//   docker-NAME NAME docker-cli-plugin-hooks JSON   may have a hint after a command
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cmd/gantry/cli.h"
#include "cmd/gantry/flags.h"

namespace gantry::cli {

struct Plugin {
  std::string name;
  std::string path;
};

struct PluginMetadata {
  std::string vendor;
  std::string version;
  std::string summary;
};

// The first one of that name; nothing when there is none or the name can't be a plugin's.
std::optional<Plugin> FindPlugin(Cli& cli, const std::string& name);
// All, by name; of several with one name the first one found.
std::vector<Plugin> ListPlugins(Cli& cli);
// Runs the plugin for it. Errors: no JSON, no vendor, a schema that we don't know.
Result<PluginMetadata> ReadMetadata(const Plugin& plugin);

// Runs it with these words on our own streams; its exit code is ours. With hints switched off (the
// usual case) it takes our place and this does not return.
Result<int> RunPlugin(Cli& cli, const Plugin& plugin, const std::vector<std::string>& words);

// After a command on a terminal: asks the plugins that config.json names for it whether they have a
// hint, and shows those. `flags`: those that were given; plugins see no values but "true".
void ShowHints(Cli& cli, const std::string& command, const std::vector<Flags::Info>& flags,
               const std::string& failure);
// Whether ShowHints would do anything.
bool HintsEnabled(Cli& cli);

}  // namespace gantry::cli
