// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/option_table.h"

#include <algorithm>
#include <utility>

#include "base/io.h"
#include "base/text.h"
#include "cmd/gantryd/option_values.h"
#include "formats/human_units.h"
#include "formats/json.h"

namespace gantry::gantryd {
namespace {

using formats::Json;
using Take = std::function<Result<>(Options*, const std::string&)>;

// Each of these makes the function that puts a value of its form into one member.
template <typename Where>
Take Text(Where where) {
  return [where](Options* o, const std::string& value) -> Result<> {
    where(*o) = value;
    return {};
  };
}
template <typename Where>
Take Path(Where where) {
  return [where](Options* o, const std::string& value) -> Result<> {
    where(*o) = TRY(ParseAbsolutePath(value));
    return {};
  };
}
template <typename Where>
Take Switch(Where where) {
  return [where](Options* o, const std::string& value) -> Result<> {
    where(*o) = TRY(ParseSwitch(value));
    return {};
  };
}
template <typename Where>
Take Number(Where where, int64_t least, std::string_view complaint) {
  return [=](Options* o, const std::string& value) -> Result<> {
    int64_t number = TRY(ParseNumber(value));
    if (number < least) return InvalidArgument("{}: {}", complaint, value);
    where(*o) = number;
    return {};
  };
}
template <typename Where>
Take Append(Where where) {
  return [where](Options* o, const std::string& value) -> Result<> {
    where(*o).push_back(value);
    return {};
  };
}

// A setting that is always so here: that value is fine, any other one an error with the reason.
Take Always(std::vector<std::string> fine, std::string_view key, std::string_view why) {
  return [=](Options*, const std::string& value) -> Result<> {
    if (std::find(fine.begin(), fine.end(), value) != fine.end()) return {};
    return InvalidArgument("\"{}\" cannot be {} here: {}", key, value.empty() ? "\"\"" : value,
                           why);
  };
}
Take Refuse(std::string_view key, std::string_view why) { return Always({}, key, why); }
// The same, but another value is only told: nothing that a container relies on depends on it.
Take Usually(std::string fine, std::string_view key, std::string_view why) {
  return [=](Options* o, const std::string& value) -> Result<> {
    if (value == fine) return {};
    o->warnings.push_back(fmt::format("\"{}\" stays {}: {}", key, fine, why));
    return {};
  };
}
// A setting that a daemon may be given and that changes nothing here.
Take WithoutEffect(std::string_view key, std::string_view why) {
  return [=](Options* o, const std::string&) -> Result<> {
    o->warnings.push_back(fmt::format("\"{}\" has no effect: {}", key, why));
    return {};
  };
}

Result<> TakeHost(Options* o, const std::string& value) {
  std::optional<std::string> host = TRY(ParseHost(value, o->tls.enabled || o->tls.verify));
  o->hosts.push_back(host.value_or(""));
  return {};
}

Result<> TakeLogLevel(Options* o, const std::string& value) {
  static const std::vector<std::string> kLevels = {"debug", "info", "warn", "error", "fatal"};
  if (std::find(kLevels.begin(), kLevels.end(), value) == kLevels.end()) {
    return InvalidArgument("unable to parse logging level: {}", value);
  }
  o->log_level = value;
  return {};
}

Result<> TakeLogFormat(Options* o, const std::string& value) {
  if (value != "text" && value != "json") {
    return InvalidArgument("unknown log format: {}", value);
  }
  o->log_format = value;
  return {};
}

Result<> TakeLabel(Options* o, const std::string& value) {
  size_t equals = value.find('=');
  if (equals == std::string::npos || equals == 0) {
    return InvalidArgument("bad attribute format: {}", value);
  }
  std::vector<std::string>& labels = o->settings.labels;
  for (const std::string& other : labels) {
    if (other.substr(0, other.find('=')) == value.substr(0, equals) && other != value) {
      return InvalidArgument("conflict labels for {}={} and {}", value.substr(0, equals),
                             value.substr(equals + 1), other);
    }
  }
  if (std::find(labels.begin(), labels.end(), value) == labels.end()) labels.push_back(value);
  return {};
}

Result<> TakeLogOption(Options* o, const std::string& value) {
  auto [name, text] = TRY(ParsePair(value));
  o->settings.log.config[name] = text;
  return {};
}

Result<> TakeUlimit(Options* o, const std::string& value) {
  engine::Ulimit limit = TRY(ParseUlimit(value));
  std::erase_if(o->settings.default_ulimits,
                [&](const engine::Ulimit& other) { return other.name == limit.name; });
  o->settings.default_ulimits.push_back(limit);
  return {};
}

// {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}
Result<> TakeUlimits(Options* o, const Json& json) {
  for (const auto& [name, value] : json.members()) {
    if (!value.is_object()) return InvalidArgument("invalid ulimit argument: {}", name);
    TRY(TakeUlimit(o, fmt::format("{}={}:{}", name, value["Soft"].AsInt(), value["Hard"].AsInt())));
  }
  return {};
}

Result<> AddRuntime(Options* o, const std::string& name, engine::RuntimeSetting runtime) {
  if (name == engine::kBuiltInRuntime)
    return InvalidArgument("runtime name '{}' is reserved", name);
  if (runtime.path.empty()) return InvalidArgument("runtime '{}' has no path", name);
  o->settings.runtimes[name] = std::move(runtime);
  return {};
}

Result<> TakeRuntime(Options* o, const std::string& value) {
  size_t equals = value.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == value.size()) {
    return InvalidArgument("invalid runtime argument: {}", value);
  }
  return AddRuntime(o, value.substr(0, equals), {value.substr(equals + 1), {}});
}

// {"crun": {"path": "/usr/bin/crun", "runtimeArgs": ["--debug"]}}
Result<> TakeRuntimes(Options* o, const Json& json) {
  for (const auto& [name, value] : json.members()) {
    engine::RuntimeSetting runtime;
    formats::JsonReader reader(value, "runtimes." + name);
    std::string type;
    reader.Field("path", &runtime.path);
    reader.Field("runtimeArgs", &runtime.arguments);
    reader.Field("runtimeType", &type);
    TRY(reader.Finish());
    if (!type.empty() && type != "io.containerd.runc.v2") {
      return InvalidArgument(
          "runtime '{}': \"runtimeType\" cannot be {} here: runtimes run below "
          "gantry's own shim",
          name, type);
    }
    TRY(AddRuntime(o, name, std::move(runtime)));
  }
  return {};
}

Result<> TakeFeatures(Options* o, const Json& json) {
  for (const auto& [name, value] : json.members()) {
    if (!value.is_bool()) {
      return InvalidArgument(
          "json: cannot unmarshal {} into Go struct field Config.features of "
          "type bool",
          value.Dump());
    }
    o->settings.features[name] = value.AsBool();
    if (name == "containerd-snapshotter" && !value.AsBool()) {
      return InvalidArgument(
          "feature \"containerd-snapshotter\" cannot be false here: images are "
          "kept by the container daemon");
    }
    if (name != "containerd-snapshotter") {
      o->warnings.push_back(fmt::format("feature \"{}\" has no effect here", name));
    }
  }
  return {};
}

// NAME or NAME=BOOLEAN.
Result<> TakeFeature(Options* o, const std::string& value) {
  size_t equals = value.find('=');
  bool on = equals == std::string::npos || TRY(ParseSwitch(value.substr(equals + 1)));
  return TakeFeatures(o, Json::MakeObject({{value.substr(0, equals), on}}));
}

Result<> TakeSeccomp(Options* o, const std::string& value) {
  engine::Settings& settings = o->settings;
  settings.seccomp_path = value;
  if (value.empty() || value == "builtin" || value == "unconfined") {
    settings.seccomp_profile = value;
    return {};
  }
  settings.seccomp_profile =
      TRY_WITH(ReadFile(value, size_t{4} << 20), "opening seccomp profile ({})", value);
  TRY_WITH(Json::Parse(settings.seccomp_profile), "seccomp profile ({})", value);
  return {};
}

Result<> TakeShmSize(Options* o, const std::string& value) {
  o->settings.default_shm_size = TRY(formats::ParseBinarySize(value));
  return {};
}

// By the container daemon's names and docker's. The engine asks whether it is there.
Result<> TakeStorageDriver(Options* o, const std::string& value) {
  if (value.empty() || value == "overlay2") {
    o->snapshotter = "overlayfs";
  } else if (value == "vfs") {
    o->snapshotter = "native";
  } else {
    o->snapshotter = value;
  }
  return {};
}

Result<> TakeStorageOption(Options* o, const std::string& value) {
  const size_t equals = value.find('=');
  std::string name = value.substr(0, equals);
  // docker puts its driver in front: "overlay2.size".
  if (equals == std::string::npos || name.substr(name.find('.') + 1) != "size") {
    return InvalidArgument("unknown storage option \"{}\" (hint: there is only size=BYTES)", value);
  }
  o->layer_bytes = TRY(formats::ParseBinarySize(value.substr(equals + 1)));
  return {};
}

Result<> TakeDiskBudget(Options* o, const std::string& value) {
  o->settings.disk_budget = TRY(formats::ParseBinarySize(value));
  if (o->settings.disk_budget < 0) return InvalidArgument("invalid disk budget: {}", value);
  return {};
}

Result<> TakePublishDefault(Options* o, const std::string& value) {
  if (value != "any" && value != "loopback") {
    return InvalidArgument("invalid publish-default \"{}\": any or loopback", value);
  }
  o->settings.port_address = value == "loopback" ? "127.0.0.1" : "";
  return {};
}

Result<> TakeIpcMode(Options* o, const std::string& value) {
  if (value != "private" && value != "shareable") {
    return InvalidArgument("IPC mode \"{}\" is not supported as default value", value);
  }
  o->settings.default_ipc_mode = value;
  return {};
}

Result<> TakeCgroupnsMode(Options* o, const std::string& value) {
  if (value != "private" && value != "host") {
    return InvalidArgument(
        "Default cgroup namespace mode ({}) is invalid. Use \"host\" or "
        "\"private\".",
        value);
  }
  o->settings.default_cgroupns_mode = value;
  return {};
}

Result<> TakeExecOption(Options* o, const std::string& value) {
  auto [name, text] = TRY(ParsePair(value));
  if (name != "native.cgroupdriver") return InvalidArgument("Unknown option {}", name);
  return Always({"cgroupfs"}, "native.cgroupdriver",
                "the engine's containers get their cgroups from gantry-runtime (cgroupfs)")(o,
                                                                                            text);
}

Result<> TakeInsecureRegistry(Options* o, const std::string& value) {
  if (value.starts_with("http://") || value.starts_with("https://")) {
    return InvalidArgument("insecure registry {} should not contain '://'", value);
  }
  if (value == "127.0.0.0/8" || value == "::1/128") return {};  // always so
  if (value.find('/') != std::string::npos) {
    return InvalidArgument(
        "insecure registry {}: a range of addresses is not supported, name the "
        "registries",
        value);
  }
  o->settings.insecure_registries.push_back(value);
  return {};
}

Result<> TakeMirror(Options* o, const std::string& value) {
  bool good = value.starts_with("https://") || value.starts_with("http://");
  if (!good) return InvalidArgument("invalid mirror: unsupported scheme \"\" in \"{}\"", value);
  std::string mirror = value;
  if (!mirror.ends_with('/')) mirror += '/';
  o->settings.registry_mirrors.push_back(std::move(mirror));
  return {};
}

Result<> TakeMinApiVersion(Options* o, const std::string& value) {
  int64_t minor = -1;
  if (value.starts_with("1.")) {
    Result<int64_t> number = ParseNumber(value.substr(2));
    if (number.ok()) minor = *number;
  }
  if (minor < 0) return InvalidArgument("API version \"{}\" is no version", value);
  if (minor < 24) {
    return InvalidArgument("minimum supported API version is 1.24: {}", value);
  }
  if (minor > 55) return InvalidArgument("maximum supported API version is 1.55: {}", value);
  o->settings.min_api_minor = static_cast<int>(minor);
  return {};
}

OptionRow Row(std::string_view flag, char letter, std::string_view key, Kind kind,
              std::string_view placeholder, std::string_view help, Take take) {
  return {flag, letter, key, kind, placeholder, help, std::move(take), nullptr};
}

// What is where, and who listens.
std::vector<OptionRow> PlaceRows() {
  auto path = [](auto where) { return Path(where); };
  return {
      Row("data-root", 0, "data-root", Kind::kText, "DIR", "data (/var/lib/gantry)",
          path([](Options& o) -> auto& { return o.root; })),
      Row("exec-root", 0, "exec-root", Kind::kText, "DIR",
          "sockets and what lasts until the next boot (/run/gantry)",
          path([](Options& o) -> auto& { return o.state; })),
      Row("pidfile", 'p', "pidfile", Kind::kText, "FILE", "(EXEC-ROOT/gantryd.pid)",
          path([](Options& o) -> auto& { return o.pid_file; })),
      Row("host", 'H', "hosts", Kind::kList, "URL",
          "unix://PATH, tcp://HOST:PORT or fd:// (unix://EXEC-ROOT/gantry.sock)", TakeHost),
      Row("docker-socket", 0, "docker-socket", Kind::kText, "PATH",
          "serve this socket too, from a listener that outlives gantryd",
          path([](Options& o) -> auto& { return o.docker_socket; })),
      Row("group", 'G', "group", Kind::kText, "NAME", "group of the unix sockets (docker)",
          Text([](Options& o) -> auto& { return o.group; })),
      Row("tls", 0, "tls", Kind::kSwitch, "", "use TLS on tcp; implied by --tlsverify",
          Switch([](Options& o) -> auto& { return o.tls.enabled; })),
      Row("tlsverify", 0, "tlsverify", Kind::kSwitch, "", "clients need a certificate",
          Switch([](Options& o) -> auto& { return o.tls.verify; })),
      Row("tlscacert", 0, "tlscacert", Kind::kText, "FILE", "authority of clients' certificates",
          Text([](Options& o) -> auto& { return o.tls.authority; })),
      Row("tlscert", 0, "tlscert", Kind::kText, "FILE", "the daemon's certificate",
          Text([](Options& o) -> auto& { return o.tls.certificate; })),
      Row("tlskey", 0, "tlskey", Kind::kText, "FILE", "its key",
          Text([](Options& o) -> auto& { return o.tls.key; })),
      Row("containerd", 0, "containerd", Kind::kText, "SOCK",
          "use this containerd; without it gantryd runs gantry-containerd",
          path([](Options& o) -> auto& { return o.containerd; })),
      Row("containerd-namespace", 0, "containerd-namespace", Kind::kText, "NAME", "(gantry)",
          Text([](Options& o) -> auto& { return o.containerd_namespace; })),
      Row("storage-driver", 's', "storage-driver", Kind::kText, "NAME",
          "the container daemon's snapshotter: overlayfs, btrfs, native (overlayfs)",
          TakeStorageDriver),
      Row("storage-opt", 0, "storage-opts", Kind::kList, "size=BYTES",
          "what may be written into a container's layer (any)", TakeStorageOption),
      Row("bridge", 'b', "bridge", Kind::kText, "NAME",
          "default bridge, or none: no default network (gantry0)",
          Text([](Options& o) -> auto& { return o.bridge; })),
      Row("cgroup-parent", 0, "cgroup-parent", Kind::kText, "PATH", "(/gantry)",
          Text([](Options& o) -> auto& { return o.cgroup_parent; })),
      Row("userns-remap", 0, "userns-remap", Kind::kText, "USER[:GROUP]",
          "whose subordinate ids the ids in containers are on the host; \"default\" is dockremap",
          Text([](Options& o) -> auto& { return o.userns_remap; })),
      Row("metrics-addr", 0, "metrics-addr", Kind::kText, "HOST:PORT", "/metrics for Prometheus",
          Text([](Options& o) -> auto& { return o.metrics_address; })),
  };
}

// What the daemon says, and how it talks to registries.
std::vector<OptionRow> DaemonRows() {
  std::vector<OptionRow> rows = {
      Row("debug", 'D', "debug", Kind::kSwitch, "", "log level debug",
          Switch([](Options& o) -> auto& { return o.settings.debug; })),
      Row("log-level", 'l', "log-level", Kind::kText, "LEVEL", "debug, info, warn, error (info)",
          TakeLogLevel),
      Row("log-format", 0, "log-format", Kind::kText, "FORMAT", "text, json (text)", TakeLogFormat),
      Row("label", 0, "labels", Kind::kList, "NAME=VALUE", "of the daemon, told by info",
          TakeLabel),
      Row("experimental", 0, "experimental", Kind::kSwitch, "", "builds may squash",
          Switch([](Options& o) -> auto& { return o.settings.experimental; })),
      Row("min-api-version", 0, "min-api-version", Kind::kText, "1.N",
          "oldest API version that is served (1.24)", TakeMinApiVersion),
      Row("shutdown-timeout", 0, "shutdown-timeout", Kind::kNumber, "SECONDS",
          "for requests when the daemon stops (15)",
          Number([](Options& o) -> auto& { return o.settings.shutdown_timeout; }, -1,
                 "invalid shutdown timeout")),
      Row("disk-budget", 0, "disk-budget", Kind::kText, "BYTES",
          "images, build cache, containers and volumes together: unused images and steps go (any)",
          TakeDiskBudget),
      Row("disk-budget-keep", 0, "disk-budget-keep", Kind::kNumber, "SECONDS",
          "what was used since then stays (600)",
          Number([](Options& o) -> auto& { return o.settings.disk_budget_keep; }, 0,
                 "invalid disk budget keep")),
      Row("registry-mirror", 0, "registry-mirrors", Kind::kList, "URL", "asked before docker.io",
          TakeMirror),
      Row("insecure-registry", 0, "insecure-registries", Kind::kList, "HOST[:PORT]",
          "plain HTTP and any certificate", TakeInsecureRegistry),
      Row("max-concurrent-downloads", 0, "max-concurrent-downloads", Kind::kNumber, "N",
          "layers of a pull at a time (3)",
          Number([](Options& o) -> auto& { return o.settings.max_concurrent_downloads; }, 1,
                 "invalid max concurrent downloads")),
      Row("http-proxy", 0, "http-proxy", Kind::kText, "URL", "for registries",
          Text([](Options& o) -> auto& { return o.settings.http_proxy; })),
      Row("https-proxy", 0, "https-proxy", Kind::kText, "URL", "for registries",
          Text([](Options& o) -> auto& { return o.settings.https_proxy; })),
      Row("no-proxy", 0, "no-proxy", Kind::kText, "LIST", "hosts that are asked directly",
          Text([](Options& o) -> auto& { return o.settings.no_proxy; })),
  };
  OptionRow features = Row("feature", 0, "features", Kind::kMap, "NAME=BOOL", "", TakeFeature);
  features.take_json = TakeFeatures;
  rows.push_back(std::move(features));
  return rows;
}

// What containers get that say nothing themselves.
std::vector<OptionRow> ContainerRows() {
  auto dns = [](Options* o, const std::string& value) -> Result<> {
    o->settings.dns.push_back(TRY(ParseAddress(value)));
    return {};
  };
  auto cdi = [](Options* o, const std::string& value) -> Result<> {
    if (value != "") o->settings.cdi_spec_directories.push_back(value);
    return {};
  };
  std::vector<OptionRow> rows = {
      Row("log-driver", 0, "log-driver", Kind::kText, "NAME", "default log driver (json-file)",
          Text([](Options& o) -> auto& { return o.settings.log.type; })),
      Row("log-opt", 0, "log-opts", Kind::kMap, "NAME=VALUE", "its options", TakeLogOption),
      Row("default-runtime", 0, "default-runtime", Kind::kText, "NAME", "(gantry)",
          Text([](Options& o) -> auto& { return o.settings.default_runtime; })),
      Row("default-shm-size", 0, "default-shm-size", Kind::kText, "BYTES", "of /dev/shm (64MiB)",
          TakeShmSize),
      Row("default-ipc-mode", 0, "default-ipc-mode", Kind::kText, "MODE",
          "private or shareable (private)", TakeIpcMode),
      Row("default-cgroupns-mode", 0, "default-cgroupns-mode", Kind::kText, "MODE",
          "private or host (private with cgroup v2)", TakeCgroupnsMode),
      Row("default-stop-timeout", 0, "default-stop-timeout", Kind::kNumber, "SECONDS",
          "from the stop signal to SIGKILL (10)",
          Number([](Options& o) -> auto& { return o.settings.default_stop_timeout; }, -1,
                 "invalid default stop timeout")),
      Row("init", 0, "init", Kind::kSwitch, "", "an init in each container",
          Switch([](Options& o) -> auto& { return o.settings.init; })),
      Row("init-path", 0, "init-path", Kind::kText, "FILE", "another program than gantry-init",
          Path([](Options& o) -> auto& { return o.settings.init_path; })),
      Row("no-new-privileges", 0, "no-new-privileges", Kind::kSwitch, "", "for new containers",
          Switch([](Options& o) -> auto& { return o.settings.no_new_privileges; })),
      Row("seccomp-profile", 0, "seccomp-profile", Kind::kText, "FILE",
          "instead of the built-in one; unconfined: none", TakeSeccomp),
      Row("dns", 0, "dns", Kind::kList, "ADDRESS", "name servers of containers", dns),
      Row("dns-opt", 0, "dns-opts", Kind::kList, "OPTION", "options of their resolv.conf",
          Append([](Options& o) -> auto& { return o.settings.dns_options; })),
      Row("dns-search", 0, "dns-search", Kind::kList, "DOMAIN", "their search domains",
          Append([](Options& o) -> auto& { return o.settings.dns_search; })),
      Row("publish-default", 0, "publish-default", Kind::kText, "WHERE",
          "of ports published without an address: any, or loopback for this host alone (any)",
          TakePublishDefault),
      Row("cdi-spec-dir", 0, "cdi-spec-dirs", Kind::kList, "DIR",
          "more directories of CDI specifications", cdi),
      Row("exec-opt", 0, "exec-opts", Kind::kList, "NAME=VALUE", "native.cgroupdriver=cgroupfs",
          TakeExecOption),
  };
  OptionRow ulimits = Row("default-ulimit", 0, "default-ulimits", Kind::kMap, "NAME=SOFT[:HARD]",
                          "of containers", TakeUlimit);
  ulimits.take_json = TakeUlimits;
  rows.push_back(std::move(ulimits));
  OptionRow runtimes = Row("add-runtime", 0, "runtimes", Kind::kMap, "NAME=PATH",
                           "an OCI runtime that containers may name", TakeRuntime);
  runtimes.take_json = TakeRuntimes;
  rows.push_back(std::move(runtimes));
  return rows;
}

// A setting whose value is `fine` here, or an error.
OptionRow Fixed(std::string_view flag, std::string_view key, Kind kind,
                std::vector<std::string> fine, std::string_view why) {
  return Row(flag, 0, key, kind, "", "", Always(std::move(fine), key, why));
}
// One that changes nothing.
OptionRow Idle(std::string_view flag, std::string_view key, Kind kind, std::string_view why) {
  return Row(flag, 0, key, kind, "", "", WithoutEffect(key, why));
}
// A switch that stays as it is.
OptionRow Usual(std::string_view flag, std::string_view key, std::string fine,
                std::string_view why) {
  return Row(flag, 0, key, Kind::kSwitch, "", "", Usually(std::move(fine), key, why));
}
// Values of the file that are no plain text.
std::function<Result<>(Options*, const Json&)> RefuseUnlessEmpty(std::string_view key,
                                                                 std::string_view why) {
  return [=](Options*, const Json& json) -> Result<> {
    if (json.size() == 0) return {};
    return InvalidArgument("\"{}\" cannot be set here: {}", key, why);
  };
}

constexpr std::string_view kPlugins = "there are no engine plugins";
constexpr std::string_view kSwarm = "this engine is no swarm node";
constexpr std::string_view kNoBuilder = "it is an object of the configuration file";

// {"Entitlements": {"network-host": true, "security-insecure": false}}: what clients may grant
// their builds. docker writes the first name with and without the capital.
Result<> TakeBuilder(Options* o, const Json& json) {
  for (const auto& [name, value] : json.members()) {
    if (Lower(name) != "entitlements") {
      return InvalidArgument("\"builder.{}\" cannot be set here: only Entitlements can", name);
    }
    formats::JsonReader reader(value, "builder." + name);
    reader.Field("network-host", &o->settings.builds_use_host_network);
    reader.Field("security-insecure", &o->settings.builds_run_insecure);
    TRY(reader.Finish());
  }
  return {};
}

// docker's settings of networks whose value is fixed here, or that mean nothing here.
std::vector<OptionRow> FixedNetworkRows() {
  return {
      Usual("ip-forward-no-drop", "ip-forward-no-drop", "true",
            "the FORWARD policy is never changed"),
      Usual("userland-proxy", "userland-proxy", "true", "gantry-proxy serves loopback"),
      Fixed("userland-proxy-path", "userland-proxy-path", Kind::kText, {},
            "gantry-proxy serves loopback"),
  };
}

// The others of these: none of docker's settings is passed over.
std::vector<OptionRow> FixedRows() {
  std::vector<OptionRow> rows = {
      Fixed("authorization-plugin", "authorization-plugins", Kind::kList, {}, kPlugins),
      Usual("live-restore", "live-restore", "true", "containers always outlive the daemon"),
      Row("restart", 'r', "", Kind::kSwitch, "", "",
          Usually("true", "restart", "each container has a restart policy")),
      Fixed("", "default-init", Kind::kText, {"", "docker-init"},
            "\"init-path\" names another program"),
      Idle("raw-logs", "raw-logs", Kind::kSwitch, "the log never has colours"),
      Fixed("selinux-enabled", "selinux-enabled", Kind::kSwitch, {"false"},
            "containers get no SELinux labels"),
      Fixed("rootless", "rootless", Kind::kSwitch, {"false"}, "gantryd needs root"),
      Idle("network-control-plane-mtu", "network-control-plane-mtu", Kind::kNumber, kSwarm),
      Fixed("network-diagnostic-port", "network-diagnostic-port", Kind::kNumber, {"0"}, kSwarm),
      Idle("max-concurrent-uploads", "max-concurrent-uploads", Kind::kNumber,
           "the container daemon decides how many layers go up at a time"),
      Idle("max-download-attempts", "max-download-attempts", Kind::kNumber,
           "a broken download goes on where it was"),
      Fixed("cri-containerd", "cri-containerd", Kind::kSwitch, {"false"},
            "gantry-containerd's own configuration decides"),
      Idle("containerd-plugins-namespace", "containerd-plugin-namespace", Kind::kText, kPlugins),
      Fixed("cpu-rt-period", "cpu-rt-period", Kind::kNumber, {"0"},
            "the parent cgroup has no real-time budget"),
      Fixed("cpu-rt-runtime", "cpu-rt-runtime", Kind::kNumber, {"0"},
            "the parent cgroup has no real-time budget"),
      Fixed("node-generic-resource", "node-generic-resources", Kind::kList, {}, kSwarm),
      Fixed("swarm-default-advertise-addr", "swarm-default-advertise-addr", Kind::kText, {""},
            kSwarm),
      Fixed("", "swarm-raft-heartbeat-tick", Kind::kNumber, {"0"}, kSwarm),
      Fixed("", "swarm-raft-election-tick", Kind::kNumber, {"0"}, kSwarm),
      Fixed("api-cors-header", "api-cors-header", Kind::kText, {},
            "it was taken out of docker; put a proxy before the socket"),
      Fixed("resolv-conf", "resolv-conf", Kind::kText, {"", "/etc/resolv.conf"},
            "containers get the host's"),
  };
  OptionRow builder = Row("", 0, "builder", Kind::kMap, "", "", Refuse("builder", kNoBuilder));
  builder.take_json = TakeBuilder;
  rows.push_back(std::move(builder));
  OptionRow nri = Row("", 0, "nri-opts", Kind::kMap, "", "", Refuse("nri-opts", "there is no NRI"));
  nri.take_json = RefuseUnlessEmpty("nri-opts", "there is no NRI");
  rows.push_back(std::move(nri));
  return rows;
}

}  // namespace

const std::vector<OptionRow>& OptionTable() {
  static const std::vector<OptionRow> kTable = [] {
    std::vector<OptionRow> rows = PlaceRows();
    for (auto more :
         {DaemonRows(), ContainerRows(), NetworkRows(), FixedNetworkRows(), FixedRows()}) {
      rows.insert(rows.end(), more.begin(), more.end());
    }
    return rows;
  }();
  return kTable;
}

}  // namespace gantry::gantryd
