// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/plugins.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/program.h"
#include "kernel/spawn.h"
#include "kernel/terminal.h"

extern char** environ;

namespace gantry::cli {
namespace {

constexpr size_t kMaxAnswer = 1 << 20;
constexpr std::string_view kPrefix = "docker-";

bool IsPluginName(std::string_view name) {
  auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && lower(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
    return lower(c) || (c >= '0' && c <= '9');
  });
}

// In the order in which they are searched.
std::vector<std::string> PluginDirectories(Cli& cli) {
  std::vector<std::string> directories;
  Result<const Json*> config = cli.Config();
  if (config.ok()) {
    for (const Json& extra : (**config)["cliPluginsExtraDirs"].items()) {
      directories.push_back(extra.AsString());
    }
  }
  directories.push_back(cli.ConfigDirectory() + "/cli-plugins");
  for (const char* base : {"/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec"}) {
    directories.push_back(std::string(base) + "/docker/cli-plugins");
  }
  return directories;
}

std::optional<Plugin> PluginIn(const std::string& directory, const std::string& name) {
  std::string path = fmt::format("{}/{}{}", directory, kPrefix, name);
  if (::access(path.c_str(), X_OK) != 0) return std::nullopt;
  return Plugin{name, path};
}

// The environment with what a plugin must know: the engine that we would speak to, under docker's
// names, and how to call us back.
std::vector<std::string> PluginEnvironment(Cli& cli) {
  std::map<std::string, std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    std::string_view pair = *variable;
    size_t equals = pair.find('=');
    variables[std::string(pair.substr(0, equals))] = pair.substr(std::min(equals + 1, pair.size()));
  }
  for (const char* name : {"API_VERSION", "CERT_PATH", "CONFIG", "CONTEXT", "CUSTOM_HEADERS",
                           "DEFAULT_PLATFORM", "HOST", "TLS_VERIFY"}) {
    std::string value = Setting(name);
    if (!value.empty()) variables[std::string("DOCKER_") + name] = std::move(value);
  }
  Result<std::string> context = cli.CurrentContext();
  if (context.ok() && *context == "default" && cli.options().hosts.empty()) {
    Result<DaemonEndpoint> endpoint = cli.Endpoint();
    if (endpoint.ok()) variables["DOCKER_HOST"] = endpoint->url;
  }
  variables["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"] = cli.options().program;
  std::vector<std::string> pairs;
  for (const auto& [name, value] : variables) pairs.push_back(name + "=" + value);
  return pairs;
}

Result<std::string> AskPlugin(const Plugin& plugin, std::vector<std::string> words,
                              std::vector<std::string> environment) {
  kernel::SpawnOptions options;
  options.program = plugin.path;
  options.args = {plugin.path};
  options.args.insert(options.args.end(), words.begin(), words.end());
  options.env = std::move(environment);
  kernel::ProgramOutput output =
      TRY_WITH(kernel::SpawnAndRead(std::move(options), kernel::Captured::kOutput, kMaxAnswer),
               "running '{}'", plugin.path);
  if (output.status.ShellCode() != 0) {
    return FailedPrecondition("'{}' ends with {}", plugin.path, output.status.ShellCode());
  }
  return std::move(output.text);
}

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> pairs;
  for (char** variable = environ; *variable != nullptr; ++variable) pairs.emplace_back(*variable);
  return pairs;
}

// Runs it and comes back. Keys of the terminal reach both of us; the plugin decides what they mean.
Result<int> RunAndReturn(kernel::SpawnOptions options) {
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGQUIT, SIG_IGN);
  kernel::ExitStatus status = TRY(kernel::SpawnAndWait(options));
  return status.ShellCode();
}

}  // namespace

std::optional<Plugin> FindPlugin(Cli& cli, const std::string& name) {
  if (!IsPluginName(name)) return std::nullopt;
  for (const std::string& directory : PluginDirectories(cli)) {
    if (std::optional<Plugin> plugin = PluginIn(directory, name)) return plugin;
  }
  return std::nullopt;
}

std::vector<Plugin> ListPlugins(Cli& cli) {
  std::map<std::string, Plugin> found;
  for (const std::string& directory : PluginDirectories(cli)) {
    Result<std::vector<std::string>> entries = ListDirectoryIfThere(directory);
    if (!entries.ok()) continue;  // one that we must not read has nothing for us
    for (const std::string& entry : *entries) {
      if (entry.substr(0, kPrefix.size()) != kPrefix) continue;
      std::string name = entry.substr(kPrefix.size());
      if (!IsPluginName(name) || found.contains(name)) continue;
      if (std::optional<Plugin> plugin = PluginIn(directory, name)) found[name] = *plugin;
    }
  }
  std::vector<Plugin> plugins;
  for (auto& [name, plugin] : found) plugins.push_back(std::move(plugin));
  return plugins;
}

Result<PluginMetadata> ReadMetadata(const Plugin& plugin) {
  std::string text = TRY(AskPlugin(plugin, {"docker-cli-plugin-metadata"}, OwnEnvironment()));
  Json json = TRY_WITH(Json::Parse(text), "invalid metadata");
  const std::string& schema = json["SchemaVersion"].AsString();
  if (schema.substr(0, 2) != "0.") {
    return InvalidArgument("plugin SchemaVersion \"{}\" is not valid, must be 0.1.0", schema);
  }
  PluginMetadata metadata;
  metadata.vendor = json["Vendor"].AsString();
  metadata.version = json["Version"].AsString();
  metadata.summary = json["ShortDescription"].AsString();
  if (metadata.vendor.empty()) {
    return InvalidArgument("plugin metadata does not define a vendor");
  }
  return metadata;
}

Result<int> RunPlugin(Cli& cli, const Plugin& plugin, const std::vector<std::string>& words) {
  kernel::SpawnOptions options;
  options.program = plugin.path;
  options.args = {plugin.path};
  options.args.insert(options.args.end(), words.begin(), words.end());
  options.env = PluginEnvironment(cli);
  options.fds = {{0, 0}, {1, 1}, {2, 2}};
  FlushOutput();
  if (HintsEnabled(cli)) return RunAndReturn(std::move(options));
  // It takes our place rather than being started: signals, the terminal and its exit code are then
  // its own, with nobody in between.
  std::vector<char*> args, environment;
  for (std::string& word : options.args) args.push_back(word.data());
  for (std::string& pair : options.env) environment.push_back(pair.data());
  args.push_back(nullptr);
  environment.push_back(nullptr);
  ::execve(plugin.path.c_str(), args.data(), environment.data());
  return ErrnoError("running '{}'", plugin.path);
}

bool HintsEnabled(Cli& cli) {
  if (!kernel::IsTerminal(BorrowedFd(STDOUT_FILENO))) return false;
  for (const char* name : {"CLI_HOOKS", "CLI_HINTS"}) {
    std::string value = Setting(name);
    if (value.empty()) continue;
    Result<bool> enabled = ParseBoolean(value);
    return enabled.ok() && *enabled;
  }
  Result<const Json*> config = cli.Config();
  return config.ok() && (**config)["features"]["hooks"].AsString() == "true";
}

void ShowHints(Cli& cli, const std::string& command, const std::vector<Flags::Info>& flags,
               const std::string& failure) {
  if (!HintsEnabled(cli)) return;
  Result<const Json*> config = cli.Config();
  if (!config.ok()) return;
  std::vector<std::string> hints;
  for (const auto& [name, settings] : (**config)["plugins"].members()) {
    bool wanted = false;
    for (std::string_view hook : Split(settings["hooks"].AsString(), ',')) {
      wanted = wanted || command == hook ||
               command.substr(0, hook.size() + 1) == std::string(hook) + " ";
    }
    std::optional<Plugin> plugin = wanted ? FindPlugin(cli, name) : std::nullopt;
    if (!plugin) continue;
    Json given = Json::MakeObject();
    for (const Flags::Info& flag : flags) given.Set(flag.name, flag.type.empty() ? "true" : "");
    Json request = Json::MakeObject(
        {{"RootCmd", command}, {"Flags", std::move(given)}, {"CommandError", failure}});
    Result<std::string> text = AskPlugin(
        *plugin, {plugin->name, "docker-cli-plugin-hooks", request.Dump()}, PluginEnvironment(cli));
    // A hint is a courtesy: a plugin that fails has none.
    Result<Json> answer = text.ok() ? Json::Parse(*text) : Result<Json>(text.error());
    if (!answer.ok()) continue;
    const std::string& hint = (*answer)["Template"].AsString();
    // Templates are docker's own; what we would have to guess is not shown.
    if (!hint.empty() && hint.find("{{") == std::string::npos) hints.push_back(hint);
  }
  if (hints.empty()) return;
  PrintErrorText("\nWhat's next:\n");
  for (const std::string& hint : hints) {
    for (const std::string& line : Split(hint, '\n')) PrintError("    {}\n", line);
  }
}

}  // namespace gantry::cli
