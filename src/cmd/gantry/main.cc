// SPDX-License-Identifier: Apache-2.0
//
// gantry: the command line of the engine. Global options, then one command of commands.cc.
#include "cmd/gantry/cli.h"
#include "cmd/gantry/command.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

int Main(std::vector<std::string> args) {
  Cli::Options options;
  bool version = false;
  Flags flags;
  flags.String("host", 'H', &options.host, "Daemon socket to connect to");
  flags.String("config", 0, &options.config_dir,
               "Directory of the client's configuration (default \"~/.docker\")");
  flags.Bool("version", 'v', &version, "Print the version and quit");
  Result<std::vector<std::string>> rest = flags.Parse(args, Flags::Order::kBeforeArgs);
  if (!rest.ok()) {
    PrintError(
        "{}\n\nUsage:  gantry [OPTIONS] COMMAND [ARG...]\n\n"
        "Run 'gantry --help' for more information\n",
        rest.error().message());
    return 125;
  }
  if (version) {
    Print("gantry version {}\n", GANTRY_VERSION);
    return 0;
  }
  if (rest->size() > 1 && rest->front() == "help") {
    rest->erase(rest->begin());
    rest->push_back("--help");
  }
  if (flags.help_requested() || rest->empty() || rest->front() == "help") {
    PrintMainHelp(flags);
    return 0;
  }
  Cli cli(std::move(options));
  return Dispatch(cli, std::move(*rest));
}

}  // namespace
}  // namespace gantry::cli

int main(int argc, char** argv) {
  int code = gantry::cli::Main(std::vector<std::string>(argv + 1, argv + argc));
  return gantry::cli::FlushOutput() || code != 0 ? code : 1;
}
