// SPDX-License-Identifier: Apache-2.0
#include "containerd/config.h"

#include <glob.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include "base/io.h"
#include "formats/human_units.h"
#include "formats/toml.h"

namespace gantry::containerd {
namespace {

using formats::Json;
using formats::TomlKey;
using formats::TomlString;

constexpr int kMaxImports = 64;
constexpr size_t kMaxConfigBytes = size_t{1} << 20;

using Reader = std::function<Result<>(const Json& value, Options* options)>;

Reader Text(std::string Options::* member) {
  return [member](const Json& value, Options* options) -> Result<> {
    if (!value.is_string()) return InvalidArgument("expected a string");
    options->*member = value.AsString();
    return {};
  };
}

// A path of a socket or directory: absolute, since nobody knows where a daemon is started.
Reader Path(std::string Options::* member) {
  return [member](const Json& value, Options* options) -> Result<> {
    if (!value.is_string()) return InvalidArgument("expected a string");
    if (value.AsString().empty()) return {};  // containerd's way to say "the default"
    if (value.AsString().front() != '/') {
      return InvalidArgument("'{}' is no absolute path", value.AsString());
    }
    options->*member = value.AsString();
    return {};
  };
}

template <typename Number>
Reader Integer(Number Options::* member, int64_t least, int64_t most) {
  return [=](const Json& value, Options* options) -> Result<> {
    if (!value.is_int64()) return InvalidArgument("expected an integer");
    if (value.AsInt() < least || value.AsInt() > most) {
      return InvalidArgument("{} is not between {} and {}", value.AsInt(), least, most);
    }
    options->*member = static_cast<int>(value.AsInt());
    return {};
  };
}

Reader List(std::vector<std::string> Options::* member) {
  return [member](const Json& value, Options* options) -> Result<> {
    if (!value.is_array()) return InvalidArgument("expected an array of strings");
    std::vector<std::string> list;
    for (const Json& item : value.items()) {
      if (!item.is_string()) return InvalidArgument("expected an array of strings");
      list.push_back(item.AsString());
    }
    options->*member = std::move(list);
    return {};
  };
}

// 0 is containerd's way to say "the default".
Reader MessageBytes(int Options::* member) {
  return [member](const Json& value, Options* options) -> Result<> {
    if (!value.is_int64()) return InvalidArgument("expected an integer");
    if (value.AsInt() < 0 || value.AsInt() > std::numeric_limits<int>::max()) {
      return InvalidArgument("{} is no number of bytes", value.AsInt());
    }
    if (value.AsInt() > 0) options->*member = static_cast<int>(value.AsInt());
    return {};
  };
}

Result<> ReadLevel(const Json& value, Options* options) {
  if (!value.is_string()) return InvalidArgument("expected a string");
  if (value.AsString().empty()) return {};
  return SetLogLevel(value.AsString(), options);
}

Result<> ReadFormat(const Json& value, Options* options) {
  if (!value.is_string()) return InvalidArgument("expected a string");
  if (value.AsString().empty()) return {};
  return SetLogFormat(value.AsString(), options);
}

Result<> ReadRuntimes(const Json& value, Options* options) {
  if (!value.is_object()) return InvalidArgument("expected a table");
  for (const auto& [name, program] : value.members()) {
    if (!program.is_string() || !program.AsString().starts_with("/")) {
      return InvalidArgument("'{}': expected the absolute path of a shim", name);
    }
    options->runtimes[name] = program.AsString();
  }
  return {};
}

// proxy_plugins.NAME with `type` and `address`; containerd's other kinds are not there.
Result<> ReadProxies(const Json& value, Options* options) {
  if (!value.is_object()) return InvalidArgument("expected a table");
  for (const auto& [name, proxy] : value.members()) {
    if (!proxy.is_object()) return InvalidArgument("'{}': expected a table", name);
    if (proxy["type"].AsString() != "snapshot") {
      return InvalidArgument("'{}': type '{}': only snapshot", name, proxy["type"].AsString());
    }
    if (proxy["address"].AsString().empty()) return InvalidArgument("'{}': no address", name);
    options->proxy_snapshotters.push_back({name, proxy["address"].AsString(), ""});
  }
  return {};
}

Reader Number(int64_t least, std::function<void(Options*, int64_t)> set) {
  return [=](const Json& value, Options* options) -> Result<> {
    if (!value.is_int64()) return InvalidArgument("expected an integer");
    if (value.AsInt() < least) return InvalidArgument("{} is less than {}", value.AsInt(), least);
    set(options, value.AsInt());
    return {};
  };
}

Result<> ReadHostsDirectory(const Json& value, Options* options) {
  if (!value.is_string()) return InvalidArgument("expected a string");
  if (!value.AsString().empty()) options->registries.hosts_directory = value.AsString();
  return {};
}

Result<> ReadPins(const Json& value, Options* options) {
  if (!value.is_array()) return InvalidArgument("expected an array of strings");
  for (const Json& item : value.items()) {
    if (!item.is_string()) return InvalidArgument("expected an array of strings");
    options->collection.pins.insert(item.AsString());
  }
  return {};
}

Result<> ReadPauseThreshold(const Json& value, Options* options) {
  if (!value.is_number()) return InvalidArgument("expected a number");
  options->collection.schedule.pause_threshold = value.AsDouble();
  return {};
}

// "500ms", "1.5s"; a number counts nanoseconds, as Go's durations do. Less than 0 is 0.
Result<std::chrono::milliseconds> ToDelay(const Json& value) {
  std::chrono::nanoseconds delay(value.AsInt());
  if (value.is_string()) {
    delay = TRY(formats::ParseGoDuration(value.AsString()));
  } else if (!value.is_int64()) {
    return InvalidArgument("expected a duration such as \"500ms\"");
  }
  auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(delay);
  return std::max(whole, std::chrono::milliseconds(0));
}

Reader Delay(std::chrono::milliseconds ScheduleSettings::* member) {
  return [member](const Json& value, Options* options) -> Result<> {
    options->collection.schedule.*member = TRY(ToDelay(value));
    return {};
  };
}

// As above; nothing, or less, is the default.
Result<> ReadRestartInterval(const Json& value, Options* options) {
  auto interval = TRY(ToDelay(value));
  if (interval > std::chrono::milliseconds(0)) options->restart_interval = interval;
  return {};
}

Reader Threshold(int ScheduleSettings::* member) {
  return [member](const Json& value, Options* options) -> Result<> {
    if (!value.is_int64()) return InvalidArgument("expected an integer");
    int64_t most = std::numeric_limits<int>::max();
    options->collection.schedule.*member =
        static_cast<int>(std::clamp<int64_t>(value.AsInt(), 0, most));
    return {};
  };
}

Result<> Nothing(const Json&, Options*) { return {}; }

// Registries and garbage collection.
std::map<std::string, Reader> StoreReaders() {
  static const std::string kTransfer = "plugins/io.containerd.transfer.v1.local/";
  static const std::string kScheduler = "plugins/io.containerd.gc.v1.scheduler/";
  auto layers = [](Options* o, int64_t n) { o->registries.parallel_layers = static_cast<int>(n); };
  return {
      {"proxy_plugins", ReadProxies},
      {kTransfer + "config_path", ReadHostsDirectory},
      {kTransfer + "max_concurrent_downloads", Number(1, layers)},
      {kScheduler + "pause_threshold", ReadPauseThreshold},
      {kScheduler + "deletion_threshold", Threshold(&ScheduleSettings::deletion_threshold)},
      {kScheduler + "mutation_threshold", Threshold(&ScheduleSettings::mutation_threshold)},
      {kScheduler + "schedule_delay", Delay(&ScheduleSettings::delay)},
      {kScheduler + "startup_delay", Delay(&ScheduleSettings::startup_delay)},
      {"gantry/registry/stall_seconds",
       Number(1, [](Options* o,
                    int64_t n) { o->registries.stall_timeout = std::chrono::seconds(n); })},
      {"gantry/registry/parallel_parts",
       Number(1,
              [](Options* o, int64_t n) { o->registries.parallel_parts = static_cast<int>(n); })},
      {"gantry/registry/max_layer_bytes",
       Number(1, [](Options* o,
                    int64_t n) { o->registries.max_layer_bytes = static_cast<uint64_t>(n); })},
      {"gantry/gc/high_bytes",
       Number(0,
              [](Options* o, int64_t n) { o->collection.high_bytes = static_cast<uint64_t>(n); })},
      {"gantry/gc/low_bytes",
       Number(0,
              [](Options* o, int64_t n) { o->collection.low_bytes = static_cast<uint64_t>(n); })},
      {"gantry/gc/keep_seconds",
       Number(0, [](Options* o, int64_t n) { o->collection.keep_for = std::chrono::seconds(n); })},
      {"gantry/gc/pins", ReadPins},
  };
}

// Keys as "table/key"; those of version 4 and those before it, which are read in any version.
const std::map<std::string, Reader>& Readers() {
  constexpr int kMaxId = std::numeric_limits<int>::max();
  static const std::string kServer = "plugins/io.containerd.server.v1.";
  static const std::map<std::string, Reader> kReaders = [] {
    std::map<std::string, Reader> readers = StoreReaders();
    readers.merge(std::map<std::string, Reader>{
        {"version", Nothing},
        {"imports", Nothing},
        {"root", Path(&Options::root)},
        {"state", Path(&Options::state)},
        {"oom_score", Integer(&Options::oom_score, -1000, 1000)},
        {"cgroup/path", Text(&Options::cgroup)},
        {"disabled_plugins", List(&Options::disabled_plugins)},
        {"required_plugins", List(&Options::required_plugins)},
        {"grpc/address", Path(&Options::address)},
        {"grpc/uid", Integer(&Options::grpc_uid, 0, kMaxId)},
        {"grpc/gid", Integer(&Options::grpc_gid, 0, kMaxId)},
        {"grpc/max_recv_message_size", MessageBytes(&Options::max_receive_bytes)},
        {"grpc/max_send_message_size", MessageBytes(&Options::max_send_bytes)},
        {"ttrpc/address", Path(&Options::ttrpc_address)},
        {"debug/address", Path(&Options::debug_address)},
        {"debug/level", ReadLevel},
        {"debug/format", ReadFormat},
        {"metrics/address", Text(&Options::metrics_address)},
        {kServer + "grpc/address", Path(&Options::address)},
        {kServer + "grpc/uid", Integer(&Options::grpc_uid, 0, kMaxId)},
        {kServer + "grpc/gid", Integer(&Options::grpc_gid, 0, kMaxId)},
        {kServer + "grpc/max_recv_message_size", MessageBytes(&Options::max_receive_bytes)},
        {kServer + "grpc/max_send_message_size", MessageBytes(&Options::max_send_bytes)},
        {kServer + "ttrpc/address", Path(&Options::ttrpc_address)},
        {kServer + "debug/address", Path(&Options::debug_address)},
        {kServer + "metrics/address", Text(&Options::metrics_address)},
        {std::string("plugins/") + kRestartPlugin + "/interval", ReadRestartInterval},
        // Its name before version 3.
        {"plugins/io.containerd.internal.v1.restart/interval", ReadRestartInterval},
        {"gantry/pid_file", Path(&Options::pid_file)},
        {"gantry/runtime_dir", Path(&Options::runtime_dir)},
        {"gantry/runtimes", ReadRuntimes},
    });
    return readers;
  }();
  return kReaders;
}

// containerd's tables and keys that say nothing to this daemon.
bool IsContainerdsOwn(const std::string& path) {
  static const std::vector<std::string> kKnown = {
      "temp",   "plugin_dir", "timeouts/", "stream_processors/", "plugins/", "grpc/",
      "ttrpc/", "debug/",     "metrics/"};
  return std::any_of(kKnown.begin(), kKnown.end(), [&](const std::string& known) {
    return known.back() == '/' ? path.starts_with(known) : path == known;
  });
}

std::string Dotted(const std::string& path) {
  std::string text = path;
  std::replace(text.begin(), text.end(), '/', '.');
  return text;
}

class Loader {
 public:
  Loader(Options* options, std::vector<std::string>* warnings)
      : options_(options), warnings_(warnings) {}

  Result<> Load(const std::string& path) {
    if (!seen_.insert(path).second) return {};
    if (seen_.size() > kMaxImports) return InvalidArgument("more than {} files", kMaxImports);
    auto text = TRY_WITH(ReadFile(path, kMaxConfigBytes), "reading configuration '{}'", path);
    Json json = TRY_WITH(formats::ParseToml(text), "reading configuration '{}'", path);
    TRY_WITH(CheckVersion(json), "reading configuration '{}'", path);
    TRY_WITH(Walk(json, ""), "reading configuration '{}'", path);
    for (const std::string& import : TRY(Imports(json, path))) TRY(Load(import));
    return {};
  }

 private:
  static Result<> CheckVersion(const Json& json) {
    const Json* version = json.Find("version");
    if (version == nullptr) return InvalidArgument("version: it is missing (2, 3 or 4)");
    if (!version->is_int64() || version->AsInt() < 2 || version->AsInt() > kConfigVersion) {
      return InvalidArgument("version: {} is not 2, 3 or 4", version->Dump());
    }
    return {};
  }

  Result<> Walk(const Json& table, const std::string& prefix) {
    for (const auto& [key, value] : table.members()) {
      std::string path = prefix + key;
      auto reader = Readers().find(path);
      if (reader != Readers().end()) {
        TRY_WITH(reader->second(value, options_), "{}", Dotted(path));
      } else if (value.is_object() && !IsPlugin(path)) {
        TRY(Walk(value, path + "/"));
      } else if (value.is_object()) {
        TRY(WalkPlugin(value, path));
      } else {
        WarnOf(path);
      }
    }
    return {};
  }

  // A plugin's table is one warning, unless some of its keys are read.
  static bool IsPlugin(const std::string& path) {
    return path.starts_with("plugins/") && path.find('/', 8) == std::string::npos;
  }
  Result<> WalkPlugin(const Json& table, const std::string& path) {
    bool read = std::any_of(Readers().begin(), Readers().end(), [&](const auto& reader) {
      return reader.first.starts_with(path + "/");
    });
    if (read) return Walk(table, path + "/");
    if (!table.members().empty()) WarnOf(path);
    return {};
  }
  void WarnOf(const std::string& path) {
    const char* what = IsContainerdsOwn(path) ? "is not used by this daemon" : "is unknown";
    warnings_->push_back(fmt::format("configuration: '{}' {}", Dotted(path), what));
  }

  // Patterns, from the directory of the file.
  Result<std::vector<std::string>> Imports(const Json& json, const std::string& path) {
    std::vector<std::string> files;
    const Json& imports = json["imports"];
    if (!imports.is_null() && !imports.is_array()) {
      return InvalidArgument("reading configuration '{}': imports: expected an array", path);
    }
    for (const Json& item : imports.items()) {
      std::string pattern = item.AsString();
      if (pattern.empty()) {
        return InvalidArgument("reading configuration '{}': imports: expected strings", path);
      }
      if (pattern.front() != '/') pattern = path.substr(0, path.rfind('/') + 1) + pattern;
      glob_t found{};
      int failed = ::glob(pattern.c_str(), 0, nullptr, &found);
      std::unique_ptr<glob_t, void (*)(glob_t*)> owner(&found, ::globfree);
      if (failed == GLOB_NOMATCH && pattern.find_first_of("*?[") == std::string::npos) {
        return NotFound("reading configuration '{}': import '{}' does not exist", path, pattern);
      }
      if (failed != 0 && failed != GLOB_NOMATCH) {
        return Internal("reading configuration '{}': listing '{}' failed", path, pattern);
      }
      for (size_t i = 0; i < found.gl_pathc; ++i) files.emplace_back(found.gl_pathv[i]);
    }
    return files;
  }

  Options* options_;
  std::vector<std::string>* warnings_;
  std::set<std::string> seen_;
};

// What this daemon consists of; false: it does not work without it.
const std::map<std::string, bool>& Plugins() {
  static const std::map<std::string, bool> kPlugins = [] {
    std::map<std::string, bool> plugins = {{"io.containerd.content.v1.content", false},
                                           {"io.containerd.metadata.v1.sqlite", false},
                                           {"io.containerd.differ.v1.walking", false},
                                           {"io.containerd.gc.v1.scheduler", false},
                                           {"io.containerd.event.v1.exchange", false},
                                           {"io.containerd.runtime.v2.task", false},
                                           {"io.containerd.transfer.v1.local", false},
                                           {"io.containerd.sandbox.controller.v1.shim", false},
                                           {"io.containerd.mount-manager.v1.sqlite", false},
                                           {"io.containerd.snapshotter.v1.overlayfs", false},
                                           {"io.containerd.snapshotter.v1.native", true},
                                           {kRestartPlugin, true}};
    for (const char* service :
         {"containers", "content", "diff", "events", "healthcheck", "images", "introspection",
          "leases", "mounts", "namespaces", "sandbox-controllers", "sandboxes", "snapshots",
          "streaming", "tasks", "transfer", "version"}) {
      plugins.emplace(std::string("io.containerd.grpc.v1.") + service, true);
    }
    return plugins;
  }();
  return kPlugins;
}

void DumpList(const char* key, const std::vector<std::string>& items, std::string* out) {
  *out += fmt::format("{} = [", key);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) *out += ", ";
    *out += TomlString(items[i]);
  }
  *out += "]\n";
}

void DumpStores(const Options& options, std::string* out) {
  *out += fmt::format(
      "\n[plugins.'io.containerd.transfer.v1.local']\nconfig_path = {}\n"
      "max_concurrent_downloads = {}\n",
      TomlString(options.registries.hosts_directory), options.registries.parallel_layers);
  *out += fmt::format("\n[plugins.'{}']\ninterval = '{}ms'\n", kRestartPlugin,
                      options.restart_interval.count());
  const ScheduleSettings& schedule = options.collection.schedule;
  *out += fmt::format(
      "\n[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = {}\n"
      "deletion_threshold = {}\nmutation_threshold = {}\nschedule_delay = '{}ms'\n"
      "startup_delay = '{}ms'\n",
      schedule.pause_threshold, schedule.deletion_threshold, schedule.mutation_threshold,
      schedule.delay.count(), schedule.startup_delay.count());
  *out += fmt::format(
      "\n[gantry.registry]\nstall_seconds = {}\nparallel_parts = {}\nmax_layer_bytes = {}\n",
      options.registries.stall_timeout.count(), options.registries.parallel_parts,
      options.registries.max_layer_bytes);
  *out += fmt::format("\n[gantry.gc]\nhigh_bytes = {}\nlow_bytes = {}\nkeep_seconds = {}\n",
                      options.collection.high_bytes, options.collection.low_bytes,
                      options.collection.keep_for.count());
  DumpList("pins", {options.collection.pins.begin(), options.collection.pins.end()}, out);
  for (const ProxySettings& proxy : options.proxy_snapshotters) {
    *out += fmt::format("\n[proxy_plugins.{}]\ntype = 'snapshot'\naddress = {}\n",
                        TomlKey(proxy.name), TomlString(proxy.address));
  }
}

std::string_view LevelText(log::Level level) {
  switch (level) {
    case log::Level::kDebug:
      return "debug";
    case log::Level::kInfo:
      return "info";
    case log::Level::kWarning:
      return "warn";
    case log::Level::kError:
      return "error";
  }
  return "info";
}

}  // namespace

Result<> LoadConfig(const std::string& path, Options* options, std::vector<std::string>* warnings) {
  return Loader(options, warnings).Load(path);
}

bool IsKnownPlugin(const std::string& uri) { return Plugins().contains(uri); }

bool IsDisabled(const Options& options, const std::string& uri) {
  return std::find(options.disabled_plugins.begin(), options.disabled_plugins.end(), uri) !=
         options.disabled_plugins.end();
}

Result<> CheckPlugins(const Options& options) {
  for (const std::string& uri : options.required_plugins) {
    if (!IsKnownPlugin(uri)) return NotFound("required plugin '{}' is not a part of it", uri);
    if (IsDisabled(options, uri)) {
      return InvalidArgument("plugin '{}' is required and disabled", uri);
    }
  }
  for (const std::string& uri : options.disabled_plugins) {
    // One that is not here, such as CRI, is disabled as it is.
    auto found = Plugins().find(uri);
    if (found != Plugins().end() && !found->second) {
      return InvalidArgument("plugin '{}' cannot be disabled", uri);
    }
  }
  return {};
}

std::string DumpConfig(const Options& options) {
  std::string out = fmt::format("version = {}\n", kConfigVersion);
  out += fmt::format("root = {}\n", TomlString(options.root));
  out += fmt::format("state = {}\n", TomlString(options.state));
  out += fmt::format("oom_score = {}\n", options.oom_score);
  DumpList("disabled_plugins", options.disabled_plugins, &out);
  DumpList("required_plugins", options.required_plugins, &out);
  if (!options.cgroup.empty()) {
    out += fmt::format("\n[cgroup]\npath = {}\n", TomlString(options.cgroup));
  }
  out +=
      fmt::format("\n[debug]\nlevel = {}\nformat = {}\n", TomlString(LevelText(options.log_level)),
                  TomlString(options.log_format == log::Format::kJson ? "json" : "text"));
  out += fmt::format(
      "\n[plugins.'io.containerd.server.v1.grpc']\naddress = {}\nuid = {}\ngid = {}\n"
      "max_recv_message_size = {}\nmax_send_message_size = {}\n",
      TomlString(options.address), options.grpc_uid, options.grpc_gid, options.max_receive_bytes,
      options.max_send_bytes);
  out += fmt::format("\n[plugins.'io.containerd.server.v1.ttrpc']\naddress = {}\n",
                     TomlString(options.TtrpcAddress()));
  out += fmt::format("\n[plugins.'io.containerd.server.v1.debug']\naddress = {}\n",
                     TomlString(options.debug_address));
  out += fmt::format("\n[plugins.'io.containerd.server.v1.metrics']\naddress = {}\n",
                     TomlString(options.metrics_address));
  out += fmt::format("\n[gantry]\nruntime_dir = {}\n", TomlString(options.runtime_dir));
  // The usual one follows `state`, also when a flag changes that.
  if (options.pid_file != options.DefaultPidFile()) {
    out += fmt::format("pid_file = {}\n", TomlString(options.pid_file));
  }
  if (!options.runtimes.empty()) out += "\n[gantry.runtimes]\n";
  for (const auto& [name, program] : options.runtimes) {
    out += fmt::format("{} = {}\n", TomlKey(name), TomlString(program));
  }
  DumpStores(options, &out);
  return out;
}

}  // namespace gantry::containerd
