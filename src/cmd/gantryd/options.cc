// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/options.h"

#include <functional>
#include <map>
#include <utility>

#include "base/io.h"
#include "formats/json.h"

namespace gantry::gantryd {
namespace {

using formats::Json;

// "10.0.0.0/24", or an address in it as docker's --bip has it: "10.0.0.1/24".
Result<formats::Ipv4Prefix> ParseSubnet(const std::string& text) {
  size_t slash = text.find('/');
  if (slash == std::string::npos) return InvalidArgument("subnet '{}' has no prefix length", text);
  auto address = TRY(formats::Ipv4Address::Parse(text.substr(0, slash)));
  auto parsed = TRY(formats::Ipv4Prefix::Parse("0.0.0.0" + text.substr(slash)));
  return formats::Ipv4Prefix::Of(address, parsed.length);
}

using Setter = std::function<Result<>(const std::string&)>;

// Every setting with a value: the flag's name is the key's.
std::map<std::string, Setter, std::less<>> Setters(Options* options) {
  auto text = [](std::string* out) -> Setter {
    return [out](const std::string& value) -> Result<> {
      *out = value;
      return {};
    };
  };
  auto path = [](std::string* out) -> Setter {
    return [out](const std::string& value) -> Result<> {
      if (!value.starts_with('/')) return InvalidArgument("'{}' is no absolute path", value);
      *out = value;
      while (out->size() > 1 && out->back() == '/') out->pop_back();
      return {};
    };
  };
  auto one_of = [](std::string* out, std::vector<std::string> known) -> Setter {
    return [out, known = std::move(known)](const std::string& value) -> Result<> {
      for (const std::string& each : known) {
        if (each == value) {
          *out = value;
          return {};
        }
      }
      return InvalidArgument("'{}' is not known", value);
    };
  };
  Setter subnet = [options](const std::string& value) -> Result<> {
    options->subnet = TRY(ParseSubnet(value));
    return {};
  };
  Setter host = [options](const std::string& value) -> Result<> {
    if (!value.starts_with("unix://") && !value.starts_with("tcp://")) {
      return InvalidArgument("'{}' is neither unix://PATH nor tcp://HOST:PORT", value);
    }
    options->hosts.push_back(value);
    return {};
  };
  return {{"root", path(&options->root)},
          {"data-root", path(&options->root)},
          {"state", path(&options->state)},
          {"exec-root", path(&options->state)},
          {"host", host},
          {"hosts", host},
          {"group", text(&options->group)},
          {"containerd", path(&options->containerd)},
          {"bridge", text(&options->bridge)},
          {"subnet", subnet},
          {"bip", subnet},
          {"cgroup-parent", text(&options->cgroup_parent)},
          {"pid-file", path(&options->pid_file)},
          {"pidfile", path(&options->pid_file)},
          {"log-level", one_of(&options->log_level, {"debug", "info", "warn", "error"})},
          {"log-format", one_of(&options->log_format, {"text", "json"})}};
}

Result<> ReadConfigFile(const std::string& path, Options* options) {
  Json json = TRY_WITH(Json::Parse(TRY(ReadFile(path))), "reading '{}'", path);
  if (!json.is_object()) return InvalidArgument("reading '{}': it is no JSON object", path);
  auto setters = Setters(options);
  for (const auto& [key, value] : json.members()) {
    auto setter = setters.find(key);
    if (setter == setters.end())
      return InvalidArgument("reading '{}': unknown key '{}'", path, key);
    if (value.is_string()) {
      TRY_WITH(setter->second(value.AsString()), "reading '{}': key '{}'", path, key);
      continue;
    }
    if (!value.is_array()) {
      return InvalidArgument("reading '{}': key '{}' is no string or list", path, key);
    }
    for (const Json& item : value.items()) {
      TRY_WITH(setter->second(item.AsString()), "reading '{}': key '{}'", path, key);
    }
  }
  return {};
}

}  // namespace

log::Level Options::Level() const {
  if (log_level == "debug") return log::Level::kDebug;
  if (log_level == "warn") return log::Level::kWarning;
  if (log_level == "error") return log::Level::kError;
  return log::Level::kInfo;
}

log::Format Options::Format() const {
  return log_format == "json" ? log::Format::kJson : log::Format::kText;
}

Result<Options> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  auto setters = Setters(&options);
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (name == "--version" || name == "-v") {
      options.version = true;
      continue;
    }
    if (name == "--keep") {
      options.keep = true;
      continue;
    }
    if (name == "--help" || name == "-h") {
      options.help = true;
      continue;
    }
    if (name == "-D" || name == "--debug") {
      options.log_level = "debug";
      continue;
    }
    std::optional<std::string> value;
    size_t equals = name.find('=');
    if (equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    if (name == "-H") name = "--host";
    bool is_file = name == "--config-file";
    auto setter = name.starts_with("--") ? setters.find(name.substr(2)) : setters.end();
    if (!is_file && setter == setters.end()) return InvalidArgument("unknown flag: {}", name);
    if (!value) {
      if (i + 1 == arguments.size()) return InvalidArgument("flag needs an argument: {}", name);
      value = arguments[++i];
    }
    if (is_file) {
      TRY(ReadConfigFile(*value, &options));
    } else {
      TRY_WITH(setter->second(*value), "flag {}", name);
    }
  }
  if (options.hosts.empty()) options.hosts.push_back("unix://" + options.state + "/gantry.sock");
  if (options.pid_file.empty()) options.pid_file = options.state + "/gantryd.pid";
  return options;
}

const char* const kUsage =
    "usage: gantryd [flags]\n"
    "\n"
    "  --root DIR            data (/var/lib/gantry)\n"
    "  --state DIR           sockets and what lasts until the next boot (/run/gantry)\n"
    "  -H, --host URL        unix://PATH or tcp://HOST:PORT, may be repeated\n"
    "                        (unix://STATE/gantry.sock); tcp has no authentication\n"
    "  --group NAME          group of the unix socket (docker)\n"
    "  --containerd SOCK     use this containerd; without it gantryd runs gantry-containerd\n"
    "  --bridge NAME         default bridge (gantry0)\n"
    "  --subnet PREFIX       its subnet; without it the first of docker's pools that is free\n"
    "  --bip ADDRESS/LEN     the same in docker's form\n"
    "  --cgroup-parent PATH  (/gantry)\n"
    "  --pid-file PATH       (STATE/gantryd.pid)\n"
    "  --config-file PATH    JSON with these flags as keys\n"
    "  --log-level LEVEL     debug, info, warn, error (info)\n"
    "  --log-format FORMAT   text, json (text)\n"
    "  -D, --debug           same as --log-level debug\n"
    "  --keep                stay as a parent that starts the daemon again when it is killed\n"
    "  --version\n";

}  // namespace gantry::gantryd
