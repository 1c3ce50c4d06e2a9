// SPDX-License-Identifier: Apache-2.0
//
// gantry: the command line of the engine. Global options, then one command of commands.cc.
#include <unistd.h>

#include "cmd/gantry/cli.h"
#include "cmd/gantry/command.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/plugins.h"

namespace gantry::cli {
namespace {

// Errors of the global options that concern every command; docker's users know the wording.
std::optional<int> CheckOptions(const Cli::Options& options) {
  if (!options.hosts.empty() && !options.context.empty()) {
    PrintError("conflicting options: cannot specify both --host and --context\n");
    return 1;
  }
  static constexpr std::string_view kLevels[] = {"panic", "fatal", "error", "warning",
                                                 "warn",  "info",  "debug", "trace"};
  for (std::string_view level : kLevels) {
    if (options.log_level == level) return std::nullopt;
  }
  PrintError("Unable to parse logging level: {}\n", options.log_level);
  return 1;
}

// "compose*": what plugins add, for the list of commands.
std::vector<std::pair<std::string, std::string>> PluginLines(Cli& cli) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Plugin& plugin : ListPlugins(cli)) {
    Result<PluginMetadata> metadata = ReadMetadata(plugin);
    lines.emplace_back(plugin.name + "*",
                       metadata.ok() ? metadata->summary : metadata.error().message());
  }
  return lines;
}

int Main(std::string program, std::vector<std::string> args) {
  Cli::Options options;
  options.program = std::move(program);
  options.words = args;
  bool version = false;
  Flags flags;
  BindGlobalFlags(&flags, &options, &version);
  Result<std::vector<std::string>> rest = flags.Parse(args, Flags::Order::kBeforeArgs);
  if (!rest.ok()) {
    PrintError(
        "{}\n\nUsage:  {} [OPTIONS] COMMAND [ARG...]\n\n"
        "Run '{} --help' for more information\n",
        rest.error().message(), ProgramName(), ProgramName());
    return 125;
  }
  options.tls_verify_given = flags.Changed("tlsverify");
  if (version) {
    // Scripts cut the number out of docker's line.
    if (ProgramName() == "docker") {
      PrintText("Docker version " GANTRY_VERSION ", build gantry\n");
    } else {
      PrintText("gantry version " GANTRY_VERSION "\n");
    }
    return 0;
  }
  if (rest->size() > 1 && rest->front() == "help") {
    rest->erase(rest->begin());
    Cli cli(options);
    bool plugin = FindPlugin(cli, rest->front()).has_value();
    if (!plugin && FindGroup(rest->front()) == nullptr && FindCommand(rest->front()) == nullptr) {
      PrintError("unknown help topic: {}\n", rest->front());
      return 1;
    }
    rest->push_back("--help");
  }
  if (flags.help_requested() || rest->empty() || rest->front() == "help") {
    Cli cli(std::move(options));
    PrintText(MainHelp(flags, PluginLines(cli)));
    return 0;
  }
  if (auto code = CheckOptions(options)) return *code;
  Cli cli(std::move(options));
  return Dispatch(cli, std::move(*rest));
}

}  // namespace
}  // namespace gantry::cli

int main(int argc, char** argv) {
  gantry::cli::SetProgramName(argc > 0 ? argv[0] : "gantry");
  int first = argc > 0 ? 1 : 0;
  std::string program = argc > 0 ? argv[0] : "gantry";
  int code = gantry::cli::Main(program, std::vector<std::string>(argv + first, argv + argc));
  // At once: there is nothing left to say, and a thread may still carry a TLS connection.
  ::_exit(gantry::cli::FlushOutput() || code != 0 ? code : 1);
}
