// SPDX-License-Identifier: Apache-2.0
#include "engine/config.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "engine/health.h"

namespace gantry::engine {
namespace {

using formats::Json;
using formats::JsonReader;

// Each struct lists its fields once, in Visit(); Reader and Writer walk the list.

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, Healthcheck>
{
  v.OmitEmpty("Test", c.test);
  v.OmitEmpty("Interval", c.interval);
  v.OmitEmpty("Timeout", c.timeout);
  v.OmitEmpty("StartPeriod", c.start_period);
  v.OmitEmpty("StartInterval", c.start_interval);
  v.OmitEmpty("Retries", c.retries);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, ContainerConfig>
{
  v("Hostname", c.hostname);
  v("Domainname", c.domainname);
  v("User", c.user);
  v("AttachStdin", c.attach_stdin);
  v("AttachStdout", c.attach_stdout);
  v("AttachStderr", c.attach_stderr);
  v.OmitEmpty("ExposedPorts", c.exposed_ports);
  v("Tty", c.tty);
  v("OpenStdin", c.open_stdin);
  v("StdinOnce", c.stdin_once);
  v("Env", c.env);
  v("Cmd", c.cmd);
  v.OmitEmpty("Healthcheck", c.healthcheck);
  v.OmitEmpty("ArgsEscaped", c.args_escaped);
  v("Image", c.image);
  v("Volumes", c.volumes);
  v("WorkingDir", c.working_dir);
  v("Entrypoint", c.entrypoint);
  v.OmitEmpty("NetworkDisabled", c.network_disabled);
  v.OmitEmpty("MacAddress", c.mac_address);
  v("OnBuild", c.on_build);
  v("Labels", c.labels);
  v.OmitEmpty("StopSignal", c.stop_signal);
  v.OmitEmpty("StopTimeout", c.stop_timeout);
  v.OmitEmpty("Shell", c.shell);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, PortBinding>
{
  v("HostIp", c.host_ip);
  v("HostPort", c.host_port);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, RestartPolicy>
{
  v("Name", c.name);
  v("MaximumRetryCount", c.maximum_retry_count);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, LogConfig>
{
  v("Type", c.type);
  v("Config", c.config);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, DeviceMapping>
{
  v("PathOnHost", c.path_on_host);
  v("PathInContainer", c.path_in_container);
  v("CgroupPermissions", c.cgroup_permissions);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, DeviceRequest>
{
  v("Driver", c.driver);
  v("Count", c.count);
  v("DeviceIDs", c.device_ids);
  v("Capabilities", c.capabilities);
  v("Options", c.options);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, ThrottleDevice>
{
  v("Path", c.path);
  v("Rate", c.rate);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, WeightDevice>
{
  v("Path", c.path);
  v("Weight", c.weight);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, InterfacePriority>
{
  v("Name", c.name);
  v("Priority", c.priority);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, Ulimit>
{
  v("Name", c.name);
  v("Hard", c.hard);
  v("Soft", c.soft);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, MountBindOptions>
{
  v.OmitEmpty("Propagation", c.propagation);
  v.OmitEmpty("NonRecursive", c.non_recursive);
  v.OmitEmpty("CreateMountpoint", c.create_mountpoint);
  v.OmitEmpty("ReadOnlyNonRecursive", c.read_only_non_recursive);
  v.OmitEmpty("ReadOnlyForceRecursive", c.read_only_force_recursive);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, MountDriver>
{
  v.OmitEmpty("Name", c.name);
  v.OmitEmpty("Options", c.options);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, MountImageOptions>
{
  v.OmitEmpty("Subpath", c.subpath);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, MountVolumeOptions>
{
  v.OmitEmpty("NoCopy", c.no_copy);
  v.OmitEmpty("Labels", c.labels);
  v.OmitEmpty("DriverConfig", c.driver_config);
  v.OmitEmpty("Subpath", c.subpath);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, MountTmpfsOptions>
{
  v.OmitEmpty("SizeBytes", c.size_bytes);
  v.OmitEmpty("Mode", c.mode);
  v.OmitEmpty("Options", c.options);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, MountConfig>
{
  v("Type", c.type);
  v.OmitEmpty("Source", c.source);
  v("Target", c.target);
  v.OmitEmpty("ReadOnly", c.read_only);
  v.OmitEmpty("Consistency", c.consistency);
  v.OmitEmpty("BindOptions", c.bind_options);
  v.OmitEmpty("VolumeOptions", c.volume_options);
  v.OmitEmpty("ImageOptions", c.image_options);
  v.OmitEmpty("TmpfsOptions", c.tmpfs_options);
}

// What POST /containers/{id}/update may change beside the restart policy.
template <typename V, typename T>
void VisitResources(V& v, T& c) {
  v("CpuShares", c.cpu_shares);
  v("Memory", c.memory);
  v("NanoCpus", c.nano_cpus);
  v("CgroupParent", c.cgroup_parent);
  v("BlkioWeight", c.blkio_weight);
  v("BlkioWeightDevice", c.blkio_weight_device);
  v("BlkioDeviceReadBps", c.blkio_device_read_bps);
  v("BlkioDeviceWriteBps", c.blkio_device_write_bps);
  v("BlkioDeviceReadIOps", c.blkio_device_read_iops);
  v("BlkioDeviceWriteIOps", c.blkio_device_write_iops);
  v("CpuPeriod", c.cpu_period);
  v("CpuQuota", c.cpu_quota);
  v("CpuRealtimePeriod", c.cpu_realtime_period);
  v("CpuRealtimeRuntime", c.cpu_realtime_runtime);
  v("CpusetCpus", c.cpuset_cpus);
  v("CpusetMems", c.cpuset_mems);
  v("Devices", c.devices);
  v("DeviceCgroupRules", c.device_cgroup_rules);
  v("DeviceRequests", c.device_requests);
  v("MemoryReservation", c.memory_reservation);
  v("MemorySwap", c.memory_swap);
  v("MemorySwappiness", c.memory_swappiness);
  v("OomKillDisable", c.oom_kill_disable);
  v("PidsLimit", c.pids_limit);
  v("Ulimits", c.ulimits);
  v.OmitEmpty("NetRate", c.net_rate);
  v.OmitEmpty("NetCeil", c.net_ceil);
  v("CpuCount", c.cpu_count);
  v("CpuPercent", c.cpu_percent);
  v("IOMaximumIOps", c.io_maximum_iops);
  v("IOMaximumBandwidth", c.io_maximum_bandwidth);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, HostConfig>
{
  v("Binds", c.binds);
  v("ContainerIDFile", c.container_id_file);
  v("LogConfig", c.log_config);
  v("NetworkMode", c.network_mode);
  v("PortBindings", c.port_bindings);
  v("RestartPolicy", c.restart_policy);
  v("AutoRemove", c.auto_remove);
  v("VolumeDriver", c.volume_driver);
  v("VolumesFrom", c.volumes_from);
  v("ConsoleSize", c.console_size);
  v.OmitEmpty("Annotations", c.annotations);
  v("CapAdd", c.cap_add);
  v("CapDrop", c.cap_drop);
  v("CgroupnsMode", c.cgroupns_mode);
  v.NeverNull("Dns", c.dns);
  v.NeverNull("DnsOptions", c.dns_options);
  v.NeverNull("DnsSearch", c.dns_search);
  v("ExtraHosts", c.extra_hosts);
  v("GroupAdd", c.group_add);
  v("IpcMode", c.ipc_mode);
  v("Cgroup", c.cgroup);
  v("Links", c.links);
  v("OomScoreAdj", c.oom_score_adj);
  v("PidMode", c.pid_mode);
  v("Privileged", c.privileged);
  v("PublishAllPorts", c.publish_all_ports);
  v("ReadonlyRootfs", c.readonly_rootfs);
  v("SecurityOpt", c.security_opt);
  v.OmitEmpty("StorageOpt", c.storage_opt);
  v.OmitEmpty("Tmpfs", c.tmpfs);
  v("UTSMode", c.uts_mode);
  v("UsernsMode", c.userns_mode);
  v("ShmSize", c.shm_size);
  v.OmitEmpty("Sysctls", c.sysctls);
  v.OmitEmpty("Runtime", c.runtime);
  v("Isolation", c.isolation);
  VisitResources(v, c);
  v.OmitEmpty("NetClass", c.net_class);
  v.OmitEmpty("NetPriorities", c.net_priorities);
  v.OmitEmpty("Mounts", c.mounts);
  v("MaskedPaths", c.masked_paths);
  v("ReadonlyPaths", c.readonly_paths);
  v.OmitEmpty("Init", c.init);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, EndpointIpam>
{
  v.OmitEmpty("IPv4Address", c.ipv4_address);
  v.OmitEmpty("IPv6Address", c.ipv6_address);
  v.OmitEmpty("LinkLocalIPs", c.link_local);
}

template <typename V>
void Visit(V& v, auto& c)
  requires std::is_same_v<std::remove_cvref_t<decltype(c)>, EndpointConfig>
{
  v("IPAMConfig", c.ipam_config);
  v("Links", c.links);
  v("Aliases", c.aliases);
  v.OmitEmpty("MacAddress", c.mac_address);
  v.OmitEmpty("DriverOpts", c.driver_opts);
  v.OmitEmpty("GwPriority", c.gateway_priority);
  v.OmitEmpty("NetworkID", c.network_id);
}

class Reader {
 public:
  explicit Reader(JsonReader& json) : json_(json) {}

  template <typename T>
  void operator()(std::string_view key, T& out) {
    Read(key, out);
  }
  template <typename T>
  void OmitEmpty(std::string_view key, T& out) {
    Read(key, out);
  }
  void NeverNull(std::string_view key, std::vector<std::string>& out) { Read(key, out); }

 private:
  template <typename T>
  void Read(std::string_view key, T& out)
    requires requires(JsonReader r) { r.Field(key, &out); }
  {
    json_.Field(key, &out);
  }
  template <typename T>
  void Read(std::string_view key, T& out)
    requires requires(Reader r, T t) { Visit(r, t); }
  {
    json_.Object(key, [&](JsonReader& inner) {
      Reader reader(inner);
      Visit(reader, out);
    });
  }
  template <typename T>
  void Read(std::string_view key, std::optional<T>& out)
    requires requires(Reader r, T t) { Visit(r, t); }
  {
    if (json_.Raw(key) == nullptr) return;
    T value{};
    Read(key, value);
    out = std::move(value);
  }
  template <typename T>
  void Read(std::string_view key, std::vector<T>& out)
    requires requires(Reader r, T t) { Visit(r, t); }
  {
    if (json_.Raw(key) != nullptr) out.clear();
    json_.Objects(key, [&](JsonReader& inner) {
      Reader reader(inner);
      Visit(reader, out.emplace_back());
    });
  }
  void Read(std::string_view key, std::vector<std::vector<std::string>>& out) {
    const Json* member = json_.Raw(key);
    if (member == nullptr) return;
    if (!member->is_array()) return json_.Fail(key, "expected an array");
    out.clear();
    for (const Json& list : member->items()) {
      if (!list.is_array()) return json_.Fail(key, "expected arrays of strings");
      std::vector<std::string>& words = out.emplace_back();
      for (const Json& word : list.items()) {
        if (!word.is_string()) return json_.Fail(key, "expected arrays of strings");
        words.push_back(word.AsString());
      }
    }
  }
  void Read(std::string_view key, NameSet& out) {
    const Json* member = json_.Raw(key);
    if (member == nullptr) return;
    if (!member->is_object()) return json_.Fail(key, "expected an object");
    out.names.clear();
    for (const auto& [name, value] : member->members()) out.names.insert(name);
  }
  void Read(std::string_view key, CommandLine& out) {
    const Json* member = json_.Raw(key);
    if (member == nullptr) return;
    out.set = true;
    if (member->is_string()) {
      out.words = {member->AsString()};
    } else {
      json_.Field(key, &out.words);
    }
  }
  // As Go reads an array of two: what is missing is 0, what is more is left out.
  void Read(std::string_view key, std::array<uint32_t, 2>& out) {
    if (json_.Raw(key) == nullptr) return;
    std::vector<uint32_t> numbers;
    json_.Field(key, &numbers);
    numbers.resize(out.size());
    std::copy(numbers.begin(), numbers.end(), out.begin());
  }
  void Read(std::string_view key, std::map<std::string, std::vector<PortBinding>>& out) {
    const Json* member = json_.Raw(key);
    if (member == nullptr) return;
    out.clear();
    if (!member->is_object()) return json_.Fail(key, "expected an object");
    // Not by JsonReader::Objects, which looks for each port among all: there may be 65,535.
    for (const auto& [port, bindings] : member->members()) {
      auto& list = out[port];
      std::string place = fmt::format("{}.{}", key, port);
      if (!bindings.is_null() && !bindings.is_array()) {
        return json_.Fail(place, "expected an array");
      }
      for (const Json& binding : bindings.items()) {
        std::string at = fmt::format("{}[{}]", place, list.size());
        if (!binding.is_object()) return json_.Fail(at, "expected an object");
        JsonReader inner(binding, "", JsonReader::Keys::kAnyCase);
        Reader reader(inner);
        Visit(reader, list.emplace_back());
        Result<> done = inner.Finish();
        if (done.ok()) continue;
        std::string_view wrong = done.error().message();  // "HostIp: expected a string"
        size_t colon = wrong.find(": ");
        return json_.Fail(fmt::format("{}.{}", at, wrong.substr(0, colon)),
                          wrong.substr(colon + 2));
      }
    }
  }

  JsonReader& json_;
};

class Writer {
 public:
  explicit Writer(Json& json) : json_(json) { json_.mutable_members(); }

  template <typename T>
  void operator()(std::string_view key, const T& value) {
    json_.Set(key, Write(value));
  }
  template <typename T>
  void OmitEmpty(std::string_view key, const T& value) {
    Json json = Write(value);
    bool empty = json.is_null() || (json.is_string() && json.AsString().empty()) ||
                 (json.is_integer() && json.AsInt() == 0) || (json.is_bool() && !json.AsBool()) ||
                 ((json.is_array() || json.is_object()) && json.size() == 0);
    // An optional that is set says something even when it is zero.
    if (empty && !IsSet(value)) return;
    json_.Set(key, std::move(json));
  }
  // A list that docker fills in when nobody gave one.
  void NeverNull(std::string_view key, const std::vector<std::string>& value) {
    json_.Set(key, Json(value));
  }

 private:
  template <typename T>
  static bool IsSet(const std::optional<T>& value) {
    return value.has_value();
  }
  template <typename T>
  static bool IsSet(const T&) {
    return false;
  }

  template <typename T>
  static Json Write(const T& value)
    requires std::is_constructible_v<Json, const T&>
  {
    return Json(value);
  }
  // docker shows an empty list of its own as null.
  static Json Write(const std::vector<std::string>& value) {
    return value.empty() ? Json() : Json(value);
  }
  static Json Write(const std::optional<std::vector<std::string>>& value) {
    return value ? Json(*value) : Json();
  }
  template <typename T>
  static Json Write(const std::optional<T>& value) {
    return value ? Write(*value) : Json();
  }
  template <typename T>
  static Json Write(const T& value)
    requires requires(Writer w, const T& t) { Visit(w, t); }
  {
    Json json;
    Writer writer(json);
    Visit(writer, value);
    return json;
  }
  template <typename T>
  static Json Write(const std::vector<T>& value)
    requires requires(Writer w, const T& t) { Visit(w, t); }
  {
    if (value.empty()) return Json();
    Json json = Json::MakeArray();
    for (const T& item : value) json.Append(Write(item));
    return json;
  }
  static Json Write(const NameSet& value) {
    if (value.names.empty()) return Json();
    Json json = Json::MakeObject();
    for (const std::string& name : value.names) Add(name, Json::MakeObject(), &json);
    return json;
  }
  static Json Write(const std::array<uint32_t, 2>& value) {
    return Json::MakeArray({value[0], value[1]});
  }
  static Json Write(const std::vector<std::vector<std::string>>& value) {
    if (value.empty()) return Json();
    Json json = Json::MakeArray();
    for (const auto& item : value) json.Append(Json(item));
    return json;
  }
  static Json Write(const CommandLine& value) { return value.set ? Json(value.words) : Json(); }
  static Json Write(const std::map<std::string, std::vector<PortBinding>>& value) {
    Json json = Json::MakeObject();
    for (const auto& [port, bindings] : value) {
      Json list = Json::MakeArray();
      for (const PortBinding& binding : bindings) list.Append(Write(binding));
      Add(port, std::move(list), &json);
    }
    return json;
  }
  // There may be tens of thousands, and none of the name is there.
  static void Add(const std::string& name, Json value, Json* object) {
    object->mutable_members().emplace_back(name, std::move(value));
  }

  Json& json_;
};

template <typename T>
Result<T> ParseAs(const Json& json, std::string path) {
  T out;
  JsonReader reader(json, std::move(path), JsonReader::Keys::kAnyCase);
  if (reader.ok()) {
    Reader fields(reader);
    Visit(fields, out);
  }
  TRY(reader.Finish());
  return out;
}

template <typename T>
Json WriteAs(const T& value) {
  Json json;
  Writer writer(json);
  Visit(writer, value);
  return json;
}

}  // namespace

Result<ContainerConfig> ParseContainerConfig(const Json& json) {
  return ParseAs<ContainerConfig>(json, "");
}

Result<HostConfig> ParseHostConfig(const Json& json) {
  return ParseAs<HostConfig>(json, "HostConfig");
}

Result<EndpointConfig> ParseEndpointConfig(const Json& json) {
  return ParseAs<EndpointConfig>(json, "EndpointConfig");
}

Result<CreateRequest> ParseCreateRequest(const Json& body) {
  CreateRequest request;
  request.config = TRY(ParseContainerConfig(body));
  JsonReader reader(body, "", JsonReader::Keys::kAnyCase);
  const Json* host = reader.Raw("HostConfig");
  if (host != nullptr) request.host_config = TRY(ParseHostConfig(*host));
  reader.Object("NetworkingConfig", [&](JsonReader& networking) {
    networking.Object("EndpointsConfig", [&](JsonReader& endpoints) {
      for (const auto& [name, value] : endpoints.json().members()) {
        EndpointConfig& endpoint = request.networking_config.endpoints_config[name];
        if (value.is_null()) endpoints.Fail(name, fmt::format("no EndpointSettings for {}", name));
        endpoints.Object(name, [&](JsonReader& inner) {
          Reader fields(inner);
          Visit(fields, endpoint);
        });
      }
    });
  });
  TRY(reader.Finish());
  return request;
}

Result<HostConfig> ParseUpdate(const Json& body) {
  HostConfig asked;
  JsonReader reader(body, "", JsonReader::Keys::kAnyCase);
  if (reader.ok()) {
    Reader fields(reader);
    VisitResources(fields, asked);
    fields("RestartPolicy", asked.restart_policy);
  }
  TRY(reader.Finish());
  return asked;
}

Json ToJson(const ContainerConfig& config) { return WriteAs(config); }
Json ToJson(const HostConfig& config) { return WriteAs(config); }
Json ToJson(const EndpointConfig& config) { return WriteAs(config); }

}  // namespace gantry::engine
