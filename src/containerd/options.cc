// SPDX-License-Identifier: Apache-2.0
#include "containerd/options.h"

#include <limits.h>
#include <unistd.h>

#include <functional>
#include <map>

namespace gantry::containerd {
namespace {

using Setter = std::function<Result<>(Options&, const std::string&)>;

Result<> SetLevel(Options& options, const std::string& value) {
  static const std::map<std::string, log::Level> kLevels = {{"debug", log::Level::kDebug},
                                                            {"info", log::Level::kInfo},
                                                            {"warn", log::Level::kWarning},
                                                            {"warning", log::Level::kWarning},
                                                            {"error", log::Level::kError}};
  auto found = kLevels.find(value);
  if (found == kLevels.end()) {
    return InvalidArgument("reading --log-level '{}': debug, info, warn or error", value);
  }
  options.log_level = found->second;
  return {};
}

Result<> SetFormat(Options& options, const std::string& value) {
  if (value != "text" && value != "json") {
    return InvalidArgument("reading --log-format '{}': text or json", value);
  }
  options.log_format = value == "json" ? log::Format::kJson : log::Format::kText;
  return {};
}

Result<> AddRuntime(Options& options, const std::string& value) {
  size_t equal = value.find('=');
  if (equal == 0 || equal == std::string::npos || equal + 1 >= value.size() ||
      value[equal + 1] != '/') {
    return InvalidArgument("reading --runtime '{}': not like NAME=/path/of/shim", value);
  }
  options.runtimes[value.substr(0, equal)] = value.substr(equal + 1);
  return {};
}

// Paths become absolute: shims get them, and run elsewhere.
Setter Path(std::string Options::* member) {
  return [member](Options& options, const std::string& value) -> Result<> {
    if (value.empty()) return InvalidArgument("path must not be empty");
    options.*member = value;
    if (value.front() != '/') {
      char directory[PATH_MAX];
      if (::getcwd(directory, sizeof directory) == nullptr) {
        return ErrnoError("reading the working directory");
      }
      options.*member = std::string(directory) + "/" + value;
    }
    return {};
  };
}

const std::map<std::string, Setter>& Setters() {
  static const std::map<std::string, Setter> kSetters = {
      {"--root", Path(&Options::root)},
      {"--state", Path(&Options::state)},
      {"--address", Path(&Options::address)},
      {"--pid-file", Path(&Options::pid_file)},
      {"--runtime-dir", Path(&Options::runtime_dir)},
      {"--runtime", AddRuntime},
      {"--log-level", SetLevel},
      {"--log-format", SetFormat},
  };
  return kSetters;
}

}  // namespace

const char* const kUsage =
    "usage: gantry-containerd [options]\n"
    "  --root DIR          data (default /var/lib/gantry/containerd)\n"
    "  --state DIR         run state (default /run/gantry/containerd)\n"
    "  --address SOCKET    API socket (default /run/gantry/containerd.sock)\n"
    "  --pid-file FILE     locked while the daemon lives (default\n"
    "                      /run/gantry/gantry-containerd.pid)\n"
    "  --runtime-dir DIR   where the shim and the runtime are (default: beside this program)\n"
    "  --runtime NAME=PATH the shim for a runtime name; may be repeated\n"
    "  --log-level LEVEL   debug, info, warn, error (default info)\n"
    "  --log-format F      text, json (default text)\n"
    "  --debug             as --log-level debug\n"
    "  --version, --help\n";

Result<Options> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (name == "--debug") {
      options.log_level = log::Level::kDebug;
    } else if (name == "--version" || name == "-v") {
      options.version = true;
    } else if (name == "--help" || name == "-h") {
      options.help = true;
    } else {
      std::string value;
      size_t equal = name.find('=');
      bool inline_value = equal != std::string::npos;
      if (inline_value) {
        value = name.substr(equal + 1);
        name.resize(equal);
      }
      auto setter = Setters().find(name);
      if (setter == Setters().end()) return InvalidArgument("unknown flag '{}'", name);
      if (!inline_value) {
        if (i + 1 == arguments.size()) return InvalidArgument("flag '{}' needs a value", name);
        value = arguments[++i];
      }
      TRY_WITH(setter->second(options, value), "flag '{}'", name);
    }
  }
  char path[PATH_MAX];
  ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  if (size < 0) return ErrnoError("reading '/proc/self/exe'");
  options.self.assign(path, static_cast<size_t>(size));
  if (options.runtime_dir.empty()) {
    options.runtime_dir = options.self.substr(0, options.self.rfind('/'));
  }
  return options;
}

}  // namespace gantry::containerd
