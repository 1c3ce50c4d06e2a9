// SPDX-License-Identifier: Apache-2.0
#include "containerd/options.h"

#include <limits.h>
#include <unistd.h>

#include <charconv>
#include <functional>
#include <limits>
#include <map>

#include "base/io.h"
#include "containerd/config.h"

namespace gantry::containerd {
namespace {

using Setter = std::function<Result<>(Options&, const std::string&)>;

Result<> SetLevel(Options& options, const std::string& value) {
  return SetLogLevel(value, &options);
}
Result<> SetFormat(Options& options, const std::string& value) {
  return SetLogFormat(value, &options);
}
Result<> SetMetricsAddress(Options& options, const std::string& value) {
  options.metrics_address = value;
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

template <typename Number>
Result<Number> ParseNumber(const std::string& value, Number least, Number most) {
  Number number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least ||
      number > most) {
    return InvalidArgument("'{}' is no number from {} to {}", value, least, most);
  }
  return number;
}

Result<> SetStall(Options& options, const std::string& value) {
  options.registries.stall_timeout = std::chrono::seconds(TRY(ParseNumber(value, 1, 3600)));
  return {};
}

Result<> SetMaxLayer(Options& options, const std::string& value) {
  options.registries.max_layer_bytes =
      TRY(ParseNumber<uint64_t>(value, 1, std::numeric_limits<uint64_t>::max()));
  return {};
}

Result<> SetLayers(Options& options, const std::string& value) {
  options.registries.parallel_layers = TRY(ParseNumber(value, 1, 64));
  return {};
}

Result<> SetParts(Options& options, const std::string& value) {
  options.registries.parallel_parts = TRY(ParseNumber(value, 1, 64));
  return {};
}

Result<> SetHostsDirectory(Options& options, const std::string& value) {
  options.registries.hosts_directory = value;
  return {};
}

// NAME=SOCKET, or NAME=SOCKET,REMOTE where it has another name there.
Result<> AddProxy(Options& options, const std::string& value) {
  size_t equal = value.find('=');
  size_t comma = value.rfind(',');
  bool renamed = comma != std::string::npos && comma > equal;
  if (equal == 0 || equal == std::string::npos || equal + 1 >= value.size() ||
      value.find('/') == std::string::npos || value.find('/') < equal) {
    return InvalidArgument("'{}' is not like NAME=/path/of/socket[,REMOTE-NAME]", value);
  }
  options.proxy_snapshotters.push_back(
      {value.substr(0, equal),
       value.substr(equal + 1, (renamed ? comma : value.size()) - equal - 1),
       renamed ? value.substr(comma + 1) : ""});
  return {};
}

Setter Bytes(uint64_t CollectionPolicy::* member) {
  return [member](Options& options, const std::string& value) -> Result<> {
    options.collection.*member =
        TRY(ParseNumber<uint64_t>(value, 0, std::numeric_limits<uint64_t>::max()));
    return {};
  };
}

Result<> SetKeepFor(Options& options, const std::string& value) {
  options.collection.keep_for = std::chrono::seconds(TRY(ParseNumber(value, 0, 1 << 30)));
  return {};
}

Result<> AddPin(Options& options, const std::string& value) {
  options.collection.pins.insert(value);
  return {};
}

const std::map<std::string, Setter>& Setters() {
  static const std::map<std::string, Setter> kSetters = {
      {"--root", Path(&Options::root)},
      {"--state", Path(&Options::state)},
      {"--address", Path(&Options::address)},
      {"-a", Path(&Options::address)},
      {"--debug-address", Path(&Options::debug_address)},
      {"--metrics-address", SetMetricsAddress},
      {"--pid-file", Path(&Options::pid_file)},
      {"--runtime-dir", Path(&Options::runtime_dir)},
      {"--runtime", AddRuntime},
      {"--registry-hosts-dir", SetHostsDirectory},
      {"--registry-stall", SetStall},
      {"--parallel-layers", SetLayers},
      {"--parallel-parts", SetParts},
      {"--max-layer-bytes", SetMaxLayer},
      {"--gc-high-bytes", Bytes(&CollectionPolicy::high_bytes)},
      {"--gc-low-bytes", Bytes(&CollectionPolicy::low_bytes)},
      {"--gc-keep-for", SetKeepFor},
      {"--gc-pin", AddPin},
      {"--proxy-snapshotter", AddProxy},
      {"--log-level", SetLevel},
      {"-l", SetLevel},
      {"--log-format", SetFormat},
  };
  return kSetters;
}

}  // namespace

const char* const kUsage =
    "usage: gantry-containerd [options] [config default | config dump | config migrate]\n"
    "       gantry-containerd fsck [--repair] [--quick] [--inventory FILE] [--root DIR]\n"
    "       gantry-containerd oci-hook -- PROGRAM [ARG...]\n"
    "  --config, -c FILE   configuration, version 2, 3 or 4 (default\n"
    "                      /etc/gantry/containerd.toml where it exists); flags win over it\n"
    "  --root DIR          data (default /var/lib/gantry/containerd)\n"
    "  --state DIR         run state (default /run/gantry/containerd)\n"
    "  --address, -a SOCKET  API socket (default /run/gantry/containerd.sock)\n"
    "  --debug-address SOCKET  HTTP with the daemon's state\n"
    "  --metrics-address HOST:PORT  metrics for Prometheus\n"
    "  --pid-file FILE     locked while the daemon lives (default gantry-containerd.pid in the\n"
    "                      state directory)\n"
    "  --runtime-dir DIR   where the shim and the runtime are (default: beside this program)\n"
    "  --runtime NAME=PATH the shim for a runtime name; may be repeated\n"
    "  --registry-hosts-dir DIR[:DIR…]  HOST/hosts.toml or certificates of registries (default\n"
    "                      /etc/containerd/certs.d:/etc/docker/certs.d)\n"
    "  --registry-stall S  seconds without progress after which a transfer is broken (default 60)\n"
    "  --parallel-layers N layers of one pull at a time (default 3)\n"
    "  --parallel-parts N  connections for one large layer (default 2)\n"
    "  --max-layer-bytes N a larger layer, uncompressed, is refused (default 128 GiB)\n"
    "  --gc-high-bytes N   unused images go when blobs and snapshots take more (default 0: never)\n"
    "  --gc-low-bytes N    until they take less than this\n"
    "  --gc-keep-for S     but not before they are so many seconds old (default 0)\n"
    "  --gc-pin IMAGE      this one never; may be repeated\n"
    "  --proxy-snapshotter NAME=SOCKET[,REMOTE]  one that another process serves; may be repeated\n"
    "  --log-level, -l LEVEL  debug, info, warn, error (default info)\n"
    "  --log-format F      text, json (default text)\n"
    "  --debug             as --log-level debug\n"
    "  --version, --help\n"
    "config default prints the built-in configuration, config dump the one in force, as does\n"
    "config migrate: in the newest version, whichever the file has.\n"
    "fsck compares the files below --root with the records while no daemon runs, --quick without\n"
    "digests; 0: they are one, or were made so by --repair. FILE gets the names of what there is.\n"
    "oci-hook runs a program as a runtime's hook, with {{id}}, {{bundle}}, {{rootfs}}, {{pid}},\n"
    "{{status}} and {{annotation \"KEY\"}} filled in.\n";

Result<> SetLogLevel(const std::string& value, Options* options) {
  static const std::map<std::string, log::Level> kLevels = {
      {"trace", log::Level::kDebug},     {"debug", log::Level::kDebug},
      {"info", log::Level::kInfo},       {"warn", log::Level::kWarning},
      {"warning", log::Level::kWarning}, {"error", log::Level::kError},
      {"fatal", log::Level::kError},     {"panic", log::Level::kError}};
  auto found = kLevels.find(value);
  if (found == kLevels.end()) {
    return InvalidArgument("'{}' is no level: debug, info, warn or error", value);
  }
  options->log_level = found->second;
  return {};
}

Result<> SetLogFormat(const std::string& value, Options* options) {
  if (value != "text" && value != "json") {
    return InvalidArgument("'{}' is no format of logs: text or json", value);
  }
  options->log_format = value == "json" ? log::Format::kJson : log::Format::kText;
  return {};
}

namespace {

struct Flag {
  std::string name;
  std::string value;
};
struct CommandLine {
  std::vector<Flag> flags;
  std::vector<std::string> words;
};

bool TakesNoValue(const std::string& name) {
  return name == "--debug" || name == "--repair" || name == "--quick" || name == "--version" ||
         name == "-v" || name == "--help" || name == "-h";
}

Result<CommandLine> SplitArguments(const std::vector<std::string>& arguments) {
  CommandLine line;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (!name.starts_with("-")) {
      line.words.push_back(name);
      continue;
    }
    std::string value;
    size_t equal = name.find('=');
    if (equal != std::string::npos) {
      value = name.substr(equal + 1);
      name.resize(equal);
    }
    if (TakesNoValue(name)) {
      if (equal != std::string::npos) return InvalidArgument("flag '{}' takes no value", name);
    } else {
      bool known =
          Setters().contains(name) || name == "--config" || name == "-c" || name == "--inventory";
      if (!known) return InvalidArgument("unknown flag '{}'", name);
      if (equal == std::string::npos) {
        if (i + 1 == arguments.size()) return InvalidArgument("flag '{}' needs a value", name);
        value = arguments[++i];
      }
    }
    line.flags.push_back({name, value});
  }
  return line;
}

Result<> ReadCommand(const std::vector<std::string>& words, Options* options) {
  if (words.empty()) return {};
  if (words == std::vector<std::string>{"config", "default"}) {
    options->command = Command::kConfigDefault;
  } else if (words == std::vector<std::string>{"config", "dump"} ||
             words == std::vector<std::string>{"config", "migrate"}) {
    options->command = Command::kConfigDump;
  } else if (words == std::vector<std::string>{"fsck"}) {
    options->command = Command::kFsck;
  } else {
    return InvalidArgument("unknown command '{}'", words[0]);
  }
  return {};
}

// The file that a flag names, or the one at its usual place.
Result<> ReadConfigFile(const std::vector<Flag>& flags, Options* options) {
  std::string path;
  for (const Flag& flag : flags) {
    if (flag.name != "--config" && flag.name != "-c") continue;
    if (flag.value.empty()) return InvalidArgument("flag '{}': path must not be empty", flag.name);
    path = flag.value;
  }
  if (path.empty() && PathExists(kDefaultConfigPath)) path = kDefaultConfigPath;
  if (path.empty() || options->command == Command::kConfigDefault) return {};
  return LoadConfig(path, options, &options->warnings);
}

Result<> ApplyFlag(const Flag& flag, Options* options) {
  if (flag.name == "--config" || flag.name == "-c") return {};
  if (flag.name == "--debug") {
    options->log_level = log::Level::kDebug;
  } else if (flag.name == "--repair" || flag.name == "--quick" || flag.name == "--inventory") {
    if (options->command != Command::kFsck) {
      return InvalidArgument("flag '{}' belongs to fsck", flag.name);
    }
    options->repair = options->repair || flag.name == "--repair";
    options->quick = options->quick || flag.name == "--quick";
    if (flag.name == "--inventory") options->inventory = flag.value;
  } else if (flag.name == "--version" || flag.name == "-v") {
    options->version = true;
  } else if (flag.name == "--help" || flag.name == "-h") {
    options->help = true;
  } else {
    TRY_WITH(Setters().at(flag.name)(*options, flag.value), "flag '{}'", flag.name);
  }
  return {};
}

}  // namespace

Result<Options> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  CommandLine line = TRY(SplitArguments(arguments));
  TRY(ReadCommand(line.words, &options));
  TRY(ReadConfigFile(line.flags, &options));
  if (options.command != Command::kConfigDefault) {
    for (const Flag& flag : line.flags) TRY(ApplyFlag(flag, &options));
    TRY(CheckPlugins(options));
  }
  if (options.pid_file.empty()) options.pid_file = options.DefaultPidFile();
  if (options.collection.low_bytes > options.collection.high_bytes) {
    return InvalidArgument("flag '--gc-low-bytes' must not be above '--gc-high-bytes'");
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
