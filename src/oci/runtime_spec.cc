// SPDX-License-Identifier: Apache-2.0
#include "oci/runtime_spec.h"

#include <array>
#include <set>
#include <type_traits>

namespace gantry::oci {

using formats::Json;
using formats::JsonReader;

// One description of each object serves both directions: Visit(archive, value) names each member.
// The overloads are static rather than in an unnamed namespace because argument-dependent look-up
// finds them only here.

template <typename A>
static void Visit(A& a, ConsoleSize& v) {
  a.Always("height", v.height);
  a.Always("width", v.width);
}

template <typename A>
static void Visit(A& a, User& v) {
  a.Always("uid", v.uid);
  a.Always("gid", v.gid);
  a.Member("umask", v.umask);
  a.Member("additionalGids", v.additional_gids);
  a.Member("username", v.username);
}

template <typename A>
static void Visit(A& a, Capabilities& v) {
  a.Member("bounding", v.bounding);
  a.Member("effective", v.effective);
  a.Member("inheritable", v.inheritable);
  a.Member("permitted", v.permitted);
  a.Member("ambient", v.ambient);
}

template <typename A>
static void Visit(A& a, Rlimit& v) {
  a.Always("type", v.type);
  a.Always("hard", v.hard);
  a.Always("soft", v.soft);
}

template <typename A>
static void Visit(A& a, Scheduler& v) {
  a.Always("policy", v.policy);
  a.Member("nice", v.nice);
  a.Member("priority", v.priority);
  a.Member("flags", v.flags);
  a.Member("runtime", v.runtime);
  a.Member("deadline", v.deadline);
  a.Member("period", v.period);
}

template <typename A>
static void Visit(A& a, IoPriority& v) {
  a.Always("class", v.io_class);
  a.Always("priority", v.priority);
}

template <typename A>
static void Visit(A& a, ExecCpuAffinity& v) {
  a.Member("initial", v.initial);
  a.Member("final", v.final_cpus);
}

template <typename A>
static void Visit(A& a, Process& v) {
  a.Member("terminal", v.terminal);
  a.Member("consoleSize", v.console_size);
  a.Always("user", v.user);
  a.Member("args", v.args);
  a.Member("env", v.env);
  a.Always("cwd", v.cwd);
  a.Member("capabilities", v.capabilities);
  a.Member("rlimits", v.rlimits);
  a.Member("noNewPrivileges", v.no_new_privileges);
  a.Member("apparmorProfile", v.apparmor_profile);
  a.Member("oomScoreAdj", v.oom_score_adj);
  a.Member("selinuxLabel", v.selinux_label);
  a.Member("scheduler", v.scheduler);
  a.Member("ioPriority", v.io_priority);
  a.Member("execCPUAffinity", v.exec_cpu_affinity);
}

template <typename A>
static void Visit(A& a, Root& v) {
  a.Always("path", v.path);
  a.Member("readonly", v.readonly);
}

template <typename A>
static void Visit(A& a, IdMapping& v) {
  a.Always("containerID", v.container_id);
  a.Always("hostID", v.host_id);
  a.Always("size", v.size);
}

template <typename A>
static void Visit(A& a, Mount& v) {
  a.Always("destination", v.destination);
  a.Member("type", v.type);
  a.Member("source", v.source);
  a.Member("options", v.options);
  a.Member("uidMappings", v.uid_mappings);
  a.Member("gidMappings", v.gid_mappings);
}

template <typename A>
static void Visit(A& a, Hook& v) {
  a.Always("path", v.path);
  a.Member("args", v.args);
  a.Member("env", v.env);
  a.Member("timeout", v.timeout);
}

template <typename A>
static void Visit(A& a, Hooks& v) {
  a.Member("prestart", v.prestart);
  a.Member("createRuntime", v.create_runtime);
  a.Member("createContainer", v.create_container);
  a.Member("startContainer", v.start_container);
  a.Member("poststart", v.poststart);
  a.Member("poststop", v.poststop);
}

template <typename A>
static void Visit(A& a, Namespace& v) {
  a.Always("type", v.type);
  a.Member("path", v.path);
}

template <typename A>
static void Visit(A& a, Device& v) {
  a.Always("path", v.path);
  a.Always("type", v.type);
  a.Always("major", v.major);
  a.Always("minor", v.minor);
  a.Member("fileMode", v.file_mode);
  a.Member("uid", v.uid);
  a.Member("gid", v.gid);
}

template <typename A>
static void Visit(A& a, NetDevice& v) {
  a.Member("name", v.name);
}

template <typename A>
static void Visit(A& a, DeviceRule& v) {
  a.Always("allow", v.allow);
  a.Member("type", v.type);
  a.Member("major", v.major);
  a.Member("minor", v.minor);
  a.Member("access", v.access);
}

template <typename A>
static void Visit(A& a, Memory& v) {
  a.Member("limit", v.limit);
  a.Member("reservation", v.reservation);
  a.Member("swap", v.swap);
  a.Member("kernel", v.kernel);
  a.Member("kernelTCP", v.kernel_tcp);
  a.Member("swappiness", v.swappiness);
  a.Member("disableOOMKiller", v.disable_oom_killer);
  a.Member("useHierarchy", v.use_hierarchy);
  a.Member("checkBeforeUpdate", v.check_before_update);
}

template <typename A>
static void Visit(A& a, Cpu& v) {
  a.Member("shares", v.shares);
  a.Member("quota", v.quota);
  a.Member("burst", v.burst);
  a.Member("period", v.period);
  a.Member("realtimeRuntime", v.realtime_runtime);
  a.Member("realtimePeriod", v.realtime_period);
  a.Member("cpus", v.cpus);
  a.Member("mems", v.mems);
  a.Member("idle", v.idle);
}

template <typename A>
static void Visit(A& a, Pids& v) {
  a.Always("limit", v.limit);
}

template <typename A>
static void Visit(A& a, WeightDevice& v) {
  a.Always("major", v.major);
  a.Always("minor", v.minor);
  a.Member("weight", v.weight);
  a.Member("leafWeight", v.leaf_weight);
}

template <typename A>
static void Visit(A& a, ThrottleDevice& v) {
  a.Always("major", v.major);
  a.Always("minor", v.minor);
  a.Always("rate", v.rate);
}

template <typename A>
static void Visit(A& a, BlockIo& v) {
  a.Member("weight", v.weight);
  a.Member("leafWeight", v.leaf_weight);
  a.Member("weightDevice", v.weight_device);
  a.Member("throttleReadBpsDevice", v.throttle_read_bps_device);
  a.Member("throttleWriteBpsDevice", v.throttle_write_bps_device);
  a.Member("throttleReadIOPSDevice", v.throttle_read_iops_device);
  a.Member("throttleWriteIOPSDevice", v.throttle_write_iops_device);
}

template <typename A>
static void Visit(A& a, HugepageLimit& v) {
  a.Always("pageSize", v.page_size);
  a.Always("limit", v.limit);
}

template <typename A>
static void Visit(A& a, InterfacePriority& v) {
  a.Always("name", v.name);
  a.Always("priority", v.priority);
}

template <typename A>
static void Visit(A& a, NetworkResources& v) {
  a.Member("classID", v.class_id);
  a.Member("priorities", v.priorities);
}

template <typename A>
static void Visit(A& a, Rdma& v) {
  a.Member("hcaHandles", v.hca_handles);
  a.Member("hcaObjects", v.hca_objects);
}

template <typename A>
static void Visit(A& a, Resources& v) {
  a.Member("devices", v.devices);
  a.Member("memory", v.memory);
  a.Member("cpu", v.cpu);
  a.Member("pids", v.pids);
  a.Member("blockIO", v.block_io);
  a.Member("hugepageLimits", v.hugepage_limits);
  a.Member("network", v.network);
  a.Member("rdma", v.rdma);
  a.Member("unified", v.unified);
}

template <typename A>
static void Visit(A& a, SeccompArg& v) {
  a.Always("index", v.index);
  a.Always("value", v.value);
  a.Member("valueTwo", v.value_two);
  a.Always("op", v.op);
}

template <typename A>
static void Visit(A& a, SeccompSyscall& v) {
  a.Always("names", v.names);
  a.Always("action", v.action);
  a.Member("errnoRet", v.errno_ret);
  a.Member("args", v.args);
}

template <typename A>
static void Visit(A& a, Seccomp& v) {
  a.Always("defaultAction", v.default_action);
  a.Member("defaultErrnoRet", v.default_errno_ret);
  a.Member("architectures", v.architectures);
  a.Member("flags", v.flags);
  a.Member("listenerPath", v.listener_path);
  a.Member("listenerMetadata", v.listener_metadata);
  a.Member("syscalls", v.syscalls);
}

template <typename A>
static void Visit(A& a, IntelRdt& v) {
  a.Member("closID", v.clos_id);
  a.Member("schemata", v.schemata);
  a.Member("l3CacheSchema", v.l3_cache_schema);
  a.Member("memBwSchema", v.mem_bw_schema);
  a.Member("enableMonitoring", v.enable_monitoring);
}

template <typename A>
static void Visit(A& a, MemoryPolicy& v) {
  a.Always("mode", v.mode);
  a.Member("nodes", v.nodes);
  a.Member("flags", v.flags);
}

template <typename A>
static void Visit(A& a, Personality& v) {
  a.Always("domain", v.domain);
  a.Member("flags", v.flags);
}

template <typename A>
static void Visit(A& a, TimeOffset& v) {
  a.Member("secs", v.secs);
  a.Member("nanosecs", v.nanosecs);
}

template <typename A>
static void Visit(A& a, LinuxPlatform& v) {
  a.Member("uidMappings", v.uid_mappings);
  a.Member("gidMappings", v.gid_mappings);
  a.Member("sysctl", v.sysctl);
  a.Member("resources", v.resources);
  a.Member("cgroupsPath", v.cgroups_path);
  a.Member("namespaces", v.namespaces);
  a.Member("devices", v.devices);
  a.Member("netDevices", v.net_devices);
  a.Member("seccomp", v.seccomp);
  a.Member("rootfsPropagation", v.rootfs_propagation);
  a.Member("maskedPaths", v.masked_paths);
  a.Member("readonlyPaths", v.readonly_paths);
  a.Member("mountLabel", v.mount_label);
  a.Member("intelRdt", v.intel_rdt);
  a.Member("memoryPolicy", v.memory_policy);
  a.Member("personality", v.personality);
  a.Member("timeOffsets", v.time_offsets);
}

template <typename A>
static void Visit(A& a, Spec& v) {
  a.Always("ociVersion", v.oci_version);
  a.Member("process", v.process);
  a.Member("root", v.root);
  a.Member("hostname", v.hostname);
  a.Member("domainname", v.domainname);
  a.Member("mounts", v.mounts);
  a.Member("hooks", v.hooks);
  a.Member("annotations", v.annotations);
  a.Member("linux", v.platform);
}

namespace {

template <typename T>
concept ReadableField =
    requires(JsonReader& reader, T* out) { reader.Field(std::string_view(), out); };

class ReadArchive {
 public:
  explicit ReadArchive(JsonReader* reader) : reader_(reader) {}

  template <typename T>
  void Always(std::string_view key, T& value) {
    Member(key, value);
  }
  template <ReadableField T>
  void Member(std::string_view key, T& value) {
    reader_->Field(key, &value);
  }
  template <typename T>
    requires std::is_arithmetic_v<T>
  void Member(std::string_view key, std::optional<T>& value) {
    reader_->Field(key, &value);
  }
  template <typename T>
    requires std::is_class_v<T>
  void Member(std::string_view key, std::optional<T>& value) {
    reader_->Object(key, [&](JsonReader& inner) { Read(inner, value.emplace()); });
  }
  template <typename T>
    requires(std::is_class_v<T> && !ReadableField<std::vector<T>>)
  void Member(std::string_view key, std::vector<T>& values) {
    values.clear();
    reader_->Objects(key, [&](JsonReader& inner) { Read(inner, values.emplace_back()); });
  }
  template <typename T>
    requires(!std::is_same_v<T, std::string>)
  void Member(std::string_view key, std::map<std::string, T>& values) {
    reader_->Object(key, [&](JsonReader& object) {
      for (const auto& [name, unused] : object.json().members()) {
        object.Object(name, [&](JsonReader& inner) { Read(inner, values[name]); });
      }
    });
  }
  template <typename T>
    requires(std::is_class_v<T> && !ReadableField<T>)
  void Member(std::string_view key, T& value) {
    reader_->Object(key, [&](JsonReader& inner) { Read(inner, value); });
  }

 private:
  template <typename T>
  static void Read(JsonReader& reader, T& value) {
    ReadArchive archive(&reader);
    Visit(archive, value);
  }

  JsonReader* reader_;
};

class WriteArchive {
 public:
  template <typename T>
  static Json Write(const T& value) {
    WriteArchive archive;
    archive.json_ = Json::MakeObject();
    // Visit is shared with reading and so takes a mutable reference; this archive only looks.
    Visit(archive, const_cast<T&>(value));
    return std::move(archive.json_);
  }

  template <typename T>
  void Always(std::string_view key, const T& value) {
    json_.mutable_members().emplace_back(std::string(key), Convert(value));
  }
  template <typename T>
  void Member(std::string_view key, const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      if (value != T{}) Always(key, value);
    } else if constexpr (requires { value.empty(); }) {
      if (!value.empty()) Always(key, value);
    } else if constexpr (requires { value.has_value(); }) {
      if (value.has_value()) Always(key, *value);
    } else {
      Json object = Convert(value);
      if (object.size() > 0) json_.mutable_members().emplace_back(key, std::move(object));
    }
  }

 private:
  template <typename T>
  static Json Convert(const T& value) {
    if constexpr (std::is_convertible_v<const T&, Json>) {
      return Json(value);
    } else {
      return Write(value);
    }
  }
  template <typename T>
  static Json Convert(const std::vector<T>& values) {
    Json array = Json::MakeArray();
    for (const T& value : values) array.Append(Convert(value));
    return array;
  }
  template <typename T>
  static Json Convert(const std::map<std::string, T>& values) {
    Json object = Json::MakeObject();
    for (const auto& [name, value] : values) {
      object.mutable_members().emplace_back(name, Convert(value));
    }
    return object;
  }

  Json json_;
};

template <typename T>
Result<T> Parse(const Json& json, std::string path) {
  JsonReader reader(json, std::move(path));
  T value{};
  if (reader.ok()) {
    ReadArchive archive(&reader);
    Visit(archive, value);
  }
  TRY(reader.Finish());
  return value;
}

bool HasNul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Result<> CheckStrings(const std::vector<std::string>& values, std::string_view path) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (HasNul(values[i])) return InvalidArgument("{}[{}]: contains a NUL byte", path, i);
  }
  return {};
}

Result<> CheckPath(std::string_view value, std::string_view path) {
  if (HasNul(value)) return InvalidArgument("{}: contains a NUL byte", path);
  if (!value.starts_with('/')) {
    return InvalidArgument("{}: expected an absolute path, not '{}'", path, value);
  }
  return {};
}

template <typename List>
Result<> CheckOneOf(std::string_view value, const List& known, std::string_view path) {
  for (std::string_view name : known) {
    if (value == name) return {};
  }
  return InvalidArgument("{}: unknown value '{}'", path, value);
}

Result<> CheckProcess(const Process& process) {
  TRY(CheckPath(process.cwd, "process.cwd"));
  if (process.args.empty()) return InvalidArgument("process.args: must not be empty");
  TRY(CheckStrings(process.args, "process.args"));
  TRY(CheckStrings(process.env, "process.env"));
  std::set<std::string_view> seen;
  for (const Rlimit& limit : process.rlimits) {
    if (!seen.insert(limit.type).second) {
      return InvalidArgument("process.rlimits: '{}' is there twice", limit.type);
    }
    if (limit.soft > limit.hard) {
      return InvalidArgument("process.rlimits: soft limit of '{}' is above the hard one",
                             limit.type);
    }
  }
  if (process.user.umask && *process.user.umask > 0777) {
    return InvalidArgument("process.user.umask: expected at most 0777");
  }
  // (uid_t)-1 means "unchanged" to the kernel, so it is no user's number.
  if (process.user.uid == UINT32_MAX) return InvalidArgument("process.user.uid: out of range");
  if (process.user.gid == UINT32_MAX) return InvalidArgument("process.user.gid: out of range");
  if (process.oom_score_adj && (*process.oom_score_adj < -1000 || *process.oom_score_adj > 1000)) {
    return InvalidArgument("process.oomScoreAdj: expected -1000 to 1000");
  }
  return {};
}

Result<> CheckHooks(const std::vector<Hook>& hooks, std::string_view name) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    TRY(CheckPath(hooks[i].path, fmt::format("hooks.{}[{}].path", name, i)));
    TRY(CheckStrings(hooks[i].args, fmt::format("hooks.{}[{}].args", name, i)));
    TRY(CheckStrings(hooks[i].env, fmt::format("hooks.{}[{}].env", name, i)));
    if (hooks[i].timeout && *hooks[i].timeout <= 0) {
      return InvalidArgument("hooks.{}[{}].timeout: must be above zero", name, i);
    }
  }
  return {};
}

Result<> CheckAllHooks(const Hooks& hooks) {
  TRY(CheckHooks(hooks.prestart, "prestart"));
  TRY(CheckHooks(hooks.create_runtime, "createRuntime"));
  TRY(CheckHooks(hooks.create_container, "createContainer"));
  TRY(CheckHooks(hooks.start_container, "startContainer"));
  TRY(CheckHooks(hooks.poststart, "poststart"));
  return CheckHooks(hooks.poststop, "poststop");
}

Result<> CheckResources(const Resources& resources, std::string_view path) {
  constexpr std::array<std::string_view, 4> kTypes = {"", "a", "b", "c"};
  for (size_t i = 0; i < resources.devices.size(); ++i) {
    const DeviceRule& rule = resources.devices[i];
    TRY(CheckOneOf(rule.type, kTypes, fmt::format("{}.devices[{}].type", path, i)));
    if (rule.access.find_first_not_of("rwm") != std::string::npos) {
      return InvalidArgument("{}.devices[{}].access: expected letters of 'rwm'", path, i);
    }
  }
  for (const auto& [file, value] : resources.unified) {
    if (file.empty() || file.find('/') != std::string::npos || file.starts_with('.') ||
        HasNul(file)) {
      return InvalidArgument("{}.unified: '{}' is not a file of a cgroup", path, file);
    }
  }
  for (size_t i = 0; i < resources.hugepage_limits.size(); ++i) {
    const std::string& size = resources.hugepage_limits[i].page_size;
    if (size.empty() || size.find_first_not_of("0123456789KMGB") != std::string::npos) {
      return InvalidArgument("{}.hugepageLimits[{}].pageSize: bad value '{}'", path, i, size);
    }
  }
  return {};
}

Result<> CheckNamespaces(const std::vector<Namespace>& namespaces) {
  constexpr std::array<std::string_view, 8> kTypes = {"pid", "network", "mount",  "ipc",
                                                      "uts", "user",    "cgroup", "time"};
  std::set<std::string_view> seen;
  for (size_t i = 0; i < namespaces.size(); ++i) {
    const Namespace& ns = namespaces[i];
    TRY(CheckOneOf(ns.type, kTypes, fmt::format("linux.namespaces[{}].type", i)));
    if (!seen.insert(ns.type).second) {
      return InvalidArgument("linux.namespaces[{}].type: '{}' is there twice", i, ns.type);
    }
    if (!ns.path.empty()) TRY(CheckPath(ns.path, fmt::format("linux.namespaces[{}].path", i)));
  }
  return {};
}

Result<> CheckPlatform(const LinuxPlatform& platform) {
  TRY(CheckNamespaces(platform.namespaces));
  constexpr std::array<std::string_view, 4> kDevices = {"c", "b", "u", "p"};
  for (size_t i = 0; i < platform.devices.size(); ++i) {
    TRY(CheckPath(platform.devices[i].path, fmt::format("linux.devices[{}].path", i)));
    TRY(CheckOneOf(platform.devices[i].type, kDevices, fmt::format("linux.devices[{}].type", i)));
  }
  constexpr std::array<std::string_view, 9> kPropagation = {"",       "private",    "rprivate",
                                                            "shared", "rshared",    "slave",
                                                            "rslave", "unbindable", "runbindable"};
  TRY(CheckOneOf(platform.rootfs_propagation, kPropagation, "linux.rootfsPropagation"));
  TRY(CheckStrings(platform.masked_paths, "linux.maskedPaths"));
  TRY(CheckStrings(platform.readonly_paths, "linux.readonlyPaths"));
  for (const std::string& path : platform.masked_paths) TRY(CheckPath(path, "linux.maskedPaths"));
  for (const std::string& path : platform.readonly_paths) {
    TRY(CheckPath(path, "linux.readonlyPaths"));
  }
  if (HasNul(platform.cgroups_path))
    return InvalidArgument("linux.cgroupsPath: contains a NUL byte");
  if (platform.resources) TRY(CheckResources(*platform.resources, "linux.resources"));
  constexpr std::array<std::string_view, 2> kClocks = {"monotonic", "boottime"};
  for (const auto& [clock, offset] : platform.time_offsets) {
    TRY(CheckOneOf(clock, kClocks, "linux.timeOffsets"));
  }
  return {};
}

Result<> CheckMounts(const std::vector<Mount>& mounts) {
  for (size_t i = 0; i < mounts.size(); ++i) {
    const Mount& mount = mounts[i];
    if (mount.destination.empty()) {
      return InvalidArgument("mounts[{}].destination: must not be empty", i);
    }
    if (HasNul(mount.destination) || HasNul(mount.source) || HasNul(mount.type)) {
      return InvalidArgument("mounts[{}]: contains a NUL byte", i);
    }
    TRY(CheckStrings(mount.options, fmt::format("mounts[{}].options", i)));
    if (mount.uid_mappings.empty() != mount.gid_mappings.empty()) {
      return InvalidArgument("mounts[{}]: uidMappings and gidMappings go together", i);
    }
  }
  return {};
}

Result<> CheckVersion(const std::string& version) {
  if (version.empty()) return InvalidArgument("ociVersion: is missing");
  if (!version.starts_with("1.") || version.size() < 5) {
    return InvalidArgument("ociVersion: '{}' is not supported (expected 1.x.y)", version);
  }
  return {};
}

}  // namespace

Result<Spec> ParseSpec(const Json& json) {
  JsonReader reader(json, "");
  Spec spec;
  spec.oci_version.clear();
  if (reader.ok()) {
    ReadArchive archive(&reader);
    Visit(archive, spec);
  }
  TRY(reader.Finish());
  TRY(CheckVersion(spec.oci_version));
  if (spec.process) TRY(CheckProcess(*spec.process));
  if (!spec.root) return InvalidArgument("root: is missing");
  if (spec.root->path.empty() || HasNul(spec.root->path)) {
    return InvalidArgument("root.path: must not be empty");
  }
  if (HasNul(spec.hostname)) return InvalidArgument("hostname: contains a NUL byte");
  if (HasNul(spec.domainname)) return InvalidArgument("domainname: contains a NUL byte");
  TRY(CheckMounts(spec.mounts));
  TRY(CheckAllHooks(spec.hooks));
  TRY(CheckPlatform(spec.platform));
  return spec;
}

Result<Process> ParseProcess(const Json& json) {
  Process process = TRY(Parse<Process>(json, "process"));
  TRY(CheckProcess(process));
  return process;
}

Result<Resources> ParseResources(const Json& json) {
  Resources resources = TRY(Parse<Resources>(json, "resources"));
  TRY(CheckResources(resources, "resources"));
  return resources;
}

Json ToJson(const Spec& spec) { return WriteArchive::Write(spec); }
Json ToJson(const Process& process) { return WriteArchive::Write(process); }
Json ToJson(const Resources& resources) { return WriteArchive::Write(resources); }

}  // namespace gantry::oci
