// SPDX-License-Identifier: Apache-2.0
#include "init/options.h"

#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace gantry::init {
namespace {

// "SIGTERM"; as tini, only with the prefix.
int SignalNumber(std::string_view name) {
  if (!name.starts_with("SIG")) return 0;
  for (int number = 1; number < NSIG; ++number) {
    const char* abbreviation = sigabbrev_np(number);
    if (abbreviation != nullptr && name.substr(3) == abbreviation) return number;
  }
  return 0;
}

Result<> AddSuccessCode(std::string_view text, Options* options) {
  unsigned code = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  if (error != std::errc() || end != text.data() + text.size() || code > 255) {
    return InvalidArgument("exit code '{}' is no number from 0 to 255", text);
  }
  options->success_codes.set(code);
  return {};
}

void ReadEnvironment(Options* options) {
  options->subreaper = std::getenv("TINI_SUBREAPER") != nullptr;
  options->signal_group = std::getenv("TINI_KILL_PROCESS_GROUP") != nullptr;
  const char* verbosity = std::getenv("TINI_VERBOSITY");
  if (verbosity != nullptr) options->verbosity = std::atoi(verbosity);
}

}  // namespace

Result<Options> ParseOptions(int argc, char** argv) {
  Options options;
  ReadEnvironment(&options);
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    options.mode = Mode::kVersion;
    return options;
  }
  // The leading "+" stops at the program, whose own flags are not ours.
  ::optind = 1;
  ::opterr = 0;
  for (int flag = 0; (flag = ::getopt(argc, argv, "+hvwgse:p:")) != -1;) {
    switch (flag) {
      case 'h':
        options.mode = Mode::kHelp;
        return options;
      case 'v':
        ++options.verbosity;
        break;
      case 'w':
        options.warn = true;
        break;
      case 'g':
        options.signal_group = true;
        break;
      case 's':
        options.subreaper = true;
        break;
      case 'e':
        TRY(AddSuccessCode(::optarg, &options));
        break;
      case 'p':
        options.parent_death_signal = SignalNumber(::optarg);
        if (options.parent_death_signal == 0) return InvalidArgument("signal '{}'", ::optarg);
        break;
      default:
        return InvalidArgument("unknown flag or missing value: '-{}'", static_cast<char>(::optopt));
    }
  }
  if (::optind >= argc) {
    options.mode = Mode::kHelp;
    return InvalidArgument("no program is given");
  }
  options.command = argv + ::optind;
  return options;
}

}  // namespace gantry::init
