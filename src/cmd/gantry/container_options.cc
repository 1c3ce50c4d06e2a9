// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/container_options.h"

#include <chrono>

#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/device_spec.h"
#include "cmd/gantry/mount_spec.h"
#include "cmd/gantry/port_spec.h"
#include "cmd/gantry/value_spec.h"
#include "formats/ip_address.h"

namespace gantry::cli {
namespace {

using formats::Json;
using Strings = std::vector<std::string>;

// "a=b" to {"a": "b"}; "a" alone is "".
Json PairsToObject(const Strings& pairs) {
  Json object = Json::MakeObject();
  for (const std::string& pair : pairs) {
    size_t equals = pair.find('=');
    object.Set(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
  }
  return object;
}

void SetUnlessEmpty(Json* object, const char* key, const Strings& values) {
  if (!values.empty()) object->Set(key, values);
}
void SetUnlessEmpty(Json* object, const char* key, const std::string& value) {
  if (!value.empty()) object->Set(key, value);
}

// "net_admin" to "CAP_NET_ADMIN".
Strings CapabilityNames(const Strings& names) {
  Strings out;
  for (const std::string& word : names) {
    std::string name = Upper(word);
    if (name != "ALL" && name.substr(0, 4) != "CAP_") name.insert(0, "CAP_");
    out.push_back(std::move(name));
  }
  return out;
}

// What inspect shows as empty rather than null when nothing was asked for.
Json EmptyHostConfig() {
  Json host = Json::MakeObject({{"PortBindings", Json::MakeObject()}});
  for (const char* list : {"Devices", "Dns", "DnsOptions", "DnsSearch", "Ulimits",
                           "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
                           "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps"}) {
    host.Set(list, Json::MakeArray());
  }
  return host;
}

bool IsContainerMode(const std::string& mode) {
  return mode.size() > 10 && mode.substr(0, 10) == "container:";
}

}  // namespace

Result<ContainerRequest> ContainerOptions::Build(const Flags& flags, const Strings& args) {
  Json config = Json::MakeObject();
  Json host = EmptyHostConfig();
  TRY(BuildProcess(flags, args, &config));
  TRY(BuildHealth(flags, &config));
  TRY(BuildPorts(&config, &host));
  TRY(BuildStorage(&config, &host));
  TRY(BuildIsolation(flags, &host));
  TRY(BuildSecurity(&host));
  TRY(BuildResources(flags, &host));
  ContainerRequest request;
  request.body = std::move(config);
  request.body.Set("HostConfig", std::move(host));
  TRY(BuildNetworks(&request.body, &request.extra_networks));
  return request;
}

Result<> ContainerOptions::BuildProcess(const Flags& flags, const Strings& args,
                                        Json* config) const {
  bool in = false;
  bool out = attach.empty();
  bool err = attach.empty();
  if (attach.empty()) in = interactive;
  for (const std::string& stream : attach) {
    std::string name_of_stream = Lower(stream);
    if (name_of_stream == "stdin") {
      in = true;
    } else if (name_of_stream == "stdout") {
      out = true;
    } else {
      err = true;  // CheckStream has let nothing else in
    }
  }
  config->Set("Hostname", hostname_).Set("Domainname", domainname_).Set("User", user_);
  config->Set("AttachStdin", in).Set("AttachStdout", out).Set("AttachStderr", err);
  config->Set("Tty", tty).Set("OpenStdin", interactive).Set("StdinOnce", interactive && in);

  Strings env;
  for (const std::string& file : env_files_) {
    Strings pairs = TRY(ReadPairsFile(file, true));
    env.insert(env.end(), pairs.begin(), pairs.end());
  }
  for (const std::string& variable : env_) env.push_back(TRY(ParseVariable(variable)));
  config->Set("Env", env);

  Strings labels;
  for (const std::string& file : label_files_) {
    Strings pairs = TRY(ReadPairsFile(file, false));
    labels.insert(labels.end(), pairs.begin(), pairs.end());
  }
  labels.insert(labels.end(), labels_.begin(), labels_.end());
  config->Set("Labels", PairsToObject(labels));

  config->Set("Image", args[0]);
  if (args.size() > 1) config->Set("Cmd", Strings(args.begin() + 1, args.end()));
  if (flags.Changed("entrypoint")) config->Set("Entrypoint", Strings{entrypoint_});
  SetUnlessEmpty(config, "WorkingDir", workdir_);
  SetUnlessEmpty(config, "StopSignal", stop_signal_);
  if (flags.Changed("stop-timeout")) config->Set("StopTimeout", stop_timeout_);
  return {};
}

Result<> ContainerOptions::BuildHealth(const Flags& flags, Json* config) const {
  bool any = flags.Changed("health-cmd") || flags.Changed("health-interval") ||
             flags.Changed("health-timeout") || flags.Changed("health-start-period") ||
             flags.Changed("health-start-interval") || flags.Changed("health-retries");
  if (no_healthcheck_) {
    if (any) return InvalidArgument("--no-healthcheck conflicts with --health-* options");
    config->Set("Healthcheck", Json::MakeObject({{"Test", Strings{"NONE"}}}));
    return {};
  }
  if (!any) return {};
  Json check = Json::MakeObject();
  if (!health_command_.empty()) check.Set("Test", Strings{"CMD-SHELL", health_command_});
  for (auto [name, key, value] :
       {std::tuple("interval", "Interval", health_interval_),
        std::tuple("timeout", "Timeout", health_timeout_),
        std::tuple("start-period", "StartPeriod", health_start_period_),
        std::tuple("start-interval", "StartInterval", health_start_interval_)}) {
    if (value.count() < 0) return InvalidArgument("--health-{} cannot be negative", name);
    if (value.count() > 0) check.Set(key, int64_t{value.count()});
  }
  if (health_retries_ < 0) return InvalidArgument("--health-retries cannot be negative");
  if (health_retries_ > 0) check.Set("Retries", health_retries_);
  config->Set("Healthcheck", std::move(check));
  return {};
}

Result<> ContainerOptions::BuildPorts(Json* config, Json* host) const {
  Json exposed = Json::MakeObject();
  Json bindings = Json::MakeObject();
  for (const std::string& spec : publish_) TRY(AddPublished(spec, &exposed, &bindings));
  for (const std::string& spec : expose_) TRY(AddExposed(spec, &exposed));
  if (exposed.size() > 0) config->Set("ExposedPorts", std::move(exposed));
  if (bindings.size() > 0) host->Set("PortBindings", std::move(bindings));
  if (publish_all_) host->Set("PublishAllPorts", true);
  return {};
}

Result<> ContainerOptions::BuildStorage(Json* config, Json* host) const {
  Json volumes = Json::MakeObject();
  Json binds = Json::MakeArray();
  for (const std::string& spec : volumes_) TRY(AddVolume(spec, &volumes, &binds));
  if (volumes.size() > 0) config->Set("Volumes", std::move(volumes));
  if (binds.size() > 0) host->Set("Binds", std::move(binds));
  for (const std::string& spec : mounts_) {
    host->MutableMember("Mounts").Append(TRY(ParseMount(spec)));
  }
  for (const std::string& spec : tmpfs_) {
    size_t colon = spec.find(':');
    host->MutableMember("Tmpfs").Set(spec.substr(0, colon),
                                     colon == std::string::npos ? "" : spec.substr(colon + 1));
  }
  SetUnlessEmpty(host, "VolumesFrom", volumes_from_);
  SetUnlessEmpty(host, "VolumeDriver", volume_driver_);
  for (const std::string& option : storage_options_) {
    if (option.find('=') == std::string::npos) return InvalidArgument("invalid storage option");
  }
  if (!storage_options_.empty()) host->Set("StorageOpt", PairsToObject(storage_options_));
  if (read_only_) host->Set("ReadonlyRootfs", true);
  return {};
}

Result<> ContainerOptions::BuildIsolation(const Flags& flags, Json* host) const {
  if (!pid_.empty() && pid_ != "host" && !IsContainerMode(pid_)) {
    return InvalidArgument("--pid: invalid PID mode");
  }
  if (!uts_.empty() && uts_ != "host") return InvalidArgument("--uts: invalid UTS mode");
  if (!userns_.empty() && userns_ != "host") return InvalidArgument("--userns: invalid USER mode");
  if (!cgroupns_.empty() && cgroupns_ != "host" && cgroupns_ != "private") {
    return InvalidArgument("--cgroupns: invalid CGROUP mode");
  }
  SetUnlessEmpty(host, "ContainerIDFile", cidfile);
  SetUnlessEmpty(host, "PidMode", pid_);
  SetUnlessEmpty(host, "IpcMode", ipc_);
  SetUnlessEmpty(host, "UTSMode", uts_);
  SetUnlessEmpty(host, "UsernsMode", userns_);
  SetUnlessEmpty(host, "CgroupnsMode", cgroupns_);
  SetUnlessEmpty(host, "CgroupParent", cgroup_parent_);
  SetUnlessEmpty(host, "Runtime", runtime_);
  SetUnlessEmpty(host, "Isolation", isolation_);
  SetUnlessEmpty(host, "GroupAdd", group_add_);
  if (!sysctls_.empty()) host->Set("Sysctls", PairsToObject(sysctls_));
  if (!annotations_.empty()) host->Set("Annotations", PairsToObject(annotations_));
  if (flags.Changed("init")) host->Set("Init", init_);
  host->Set("AutoRemove", remove);
  Json policy = Json::MakeObject({{"Name", "no"}, {"MaximumRetryCount", 0}});
  if (!restart_.empty()) policy = TRY(ParseRestartPolicy(restart_));
  if (remove && policy["Name"].AsString() != "no" && !policy["Name"].AsString().empty()) {
    return InvalidArgument("conflicting options: cannot specify both --restart and --rm");
  }
  host->Set("RestartPolicy", std::move(policy));
  if (log_driver_ == "none" && !log_options_.empty()) {
    return InvalidArgument("invalid logging opts for driver {}", log_driver_);
  }
  host->Set("LogConfig",
            Json::MakeObject({{"Type", log_driver_}, {"Config", PairsToObject(log_options_)}}));
  return {};
}

Result<> ContainerOptions::BuildSecurity(Json* host) const {
  if (privileged_) host->Set("Privileged", true);
  SetUnlessEmpty(host, "CapAdd", CapabilityNames(cap_add_));
  SetUnlessEmpty(host, "CapDrop", CapabilityNames(cap_drop_));
  for (const std::string& rule : device_rules_)
    host->MutableMember("DeviceCgroupRules").Append(rule);
  Strings cdi_names;
  for (const std::string& device : devices_) {
    if (IsCdiName(device)) {
      cdi_names.push_back(device);
    } else {
      host->MutableMember("Devices").Append(TRY(ParseDevice(device)));
    }
  }
  for (const std::string& gpus : gpus_) {
    host->MutableMember("DeviceRequests").Append(TRY(ParseGpus(gpus)));
  }
  if (!cdi_names.empty()) {
    host->MutableMember("DeviceRequests")
        .Append(Json::MakeObject({{"Driver", "cdi"}, {"DeviceIDs", cdi_names}}));
  }
  for (const std::string& option : security_options_) {
    size_t separator = option.find('=');
    if (separator == std::string::npos) separator = option.find(':');
    std::string key = option.substr(0, separator);
    std::string value = separator == std::string::npos ? "" : option.substr(separator + 1);
    if (value.empty() && key != "no-new-privileges") {
      return InvalidArgument("Invalid --security-opt: \"{}\"", option);
    }
    if (key == "systempaths" && value == "unconfined") {
      host->Set("MaskedPaths", Json::MakeArray()).Set("ReadonlyPaths", Json::MakeArray());
      continue;
    }
    if (key == "seccomp" && value != "unconfined" && value != "builtin") {
      // The daemon may be on another machine, so it gets the profile itself.
      Result<std::string> text = ReadFile(value);
      if (!text.ok()) {
        return ErrnoErrorOf(text.error().error_number(),
                            fmt::format("opening seccomp profile ({0}) failed: open {0}", value));
      }
      Json profile =
          TRY_WITH(Json::Parse(*text), "compacting json for seccomp profile ({}) failed", value);
      host->MutableMember("SecurityOpt").Append("seccomp=" + profile.Dump());
      continue;
    }
    host->MutableMember("SecurityOpt").Append(option);
  }
  return {};
}

Result<> ContainerOptions::BuildResources(const Flags& flags, Json* host) const {
  for (const auto& [field, value] : numbers_) host->Set(field, value);
  if (auto swappiness = numbers_.find("MemorySwappiness");
      swappiness != numbers_.end() && (swappiness->second < -1 || swappiness->second > 100)) {
    return InvalidArgument("invalid value: {}. Valid memory swappiness range is 0-100",
                           swappiness->second);
  }
  SetUnlessEmpty(host, "CpusetCpus", cpuset_cpus_);
  SetUnlessEmpty(host, "CpusetMems", cpuset_mems_);
  // One of each kind, the last one counts.
  std::map<std::string, Json> limits;
  for (const std::string& text : ulimits_) {
    Json limit = TRY(ParseUlimit(text));
    limits[limit["Name"].AsString()] = limit;
  }
  for (auto& [name, limit] : limits) host->MutableMember("Ulimits").Append(std::move(limit));
  if (flags.Changed("oom-kill-disable")) host->Set("OomKillDisable", oom_kill_disable_);
  for (auto [key, values, is_size] : {std::tuple("BlkioDeviceReadBps", &read_bps_, true),
                                      std::tuple("BlkioDeviceWriteBps", &write_bps_, true),
                                      std::tuple("BlkioDeviceReadIOps", &read_iops_, false),
                                      std::tuple("BlkioDeviceWriteIOps", &write_iops_, false)}) {
    for (const std::string& value : *values) {
      host->MutableMember(key).Append(TRY(ParseThrottle(value, is_size)));
    }
  }
  for (const std::string& value : weight_devices_) {
    host->MutableMember("BlkioWeightDevice").Append(TRY(ParseWeight(value)));
  }
  for (const std::string& value : net_priorities_) {
    host->MutableMember("NetPriorities").Append(TRY(ParseNetPriority(value)));
  }
  return {};
}

// NAME, or name=…,alias=…,ip=… with options for this network alone.
Result<ContainerOptions::NetworkSpec> ContainerOptions::ParseNetwork(
    const std::string& text) const {
  NetworkSpec network;
  if (text.find('=') == std::string::npos) {
    network.name = text;
    return network;
  }
  for (const std::string& field : TRY(SplitCsv(text))) {
    size_t equals = field.find('=');
    if (equals == std::string::npos) return InvalidArgument("invalid field {}", field);
    std::string key = Lower(field.substr(0, equals));
    std::string value = field.substr(equals + 1);
    if (key == "name") {
      network.name = value;
    } else if (key == "alias") {
      network.aliases.push_back(value);
    } else if (key == "ip") {
      network.ip = value;
    } else if (key == "ip6") {
      network.ip6 = value;
    } else if (key == "mac-address") {
      network.mac = value;
    } else if (key == "gw-priority") {
      Result<int64_t> priority = ParseInteger(value);
      if (!priority.ok()) return InvalidArgument("invalid gw-priority ({})", value);
      network.gateway_priority = *priority;
    } else if (key == "link-local-ip") {
      network.link_local.push_back(value);
    } else if (key == "driver-opt") {
      size_t inner = value.find('=');
      if (inner == std::string::npos) {
        return InvalidArgument("invalid key value pair format in driver options");
      }
      network.driver_options.Set(Lower(value.substr(0, inner)), value.substr(inner + 1));
    } else {
      return InvalidArgument("invalid field key {}", key);
    }
  }
  return network;
}

Json ContainerOptions::Endpoint(const NetworkSpec& network) const {
  Json endpoint = Json::MakeObject();
  SetUnlessEmpty(&endpoint, "Aliases", network.aliases);
  SetUnlessEmpty(&endpoint, "Links", links_);
  SetUnlessEmpty(&endpoint, "MacAddress", network.mac);
  if (network.gateway_priority != 0) endpoint.Set("GwPriority", network.gateway_priority);
  if (!network.driver_options.is_null()) endpoint.Set("DriverOpts", network.driver_options);
  Json address = Json::MakeObject();
  SetUnlessEmpty(&address, "IPv4Address", network.ip);
  SetUnlessEmpty(&address, "IPv6Address", network.ip6);
  SetUnlessEmpty(&address, "LinkLocalIPs", network.link_local);
  if (address.size() > 0) endpoint.Set("IPAMConfig", std::move(address));
  return endpoint;
}

Result<> ContainerOptions::BuildNetworks(Json* body, std::vector<ExtraNetwork>* extra) const {
  Json& host = body->MutableMember("HostConfig");
  SetUnlessEmpty(&host, "Dns", dns_);
  SetUnlessEmpty(&host, "DnsOptions", dns_options_);
  SetUnlessEmpty(&host, "DnsSearch", dns_search_);
  for (const std::string& text : extra_hosts_) {
    host.MutableMember("ExtraHosts").Append(TRY(ParseExtraHost(text)));
  }
  std::vector<NetworkSpec> networks;
  for (const std::string& text : networks_) networks.push_back(TRY(ParseNetwork(text)));
  if (networks.empty()) networks.push_back({.name = "default"});
  NetworkSpec& first = networks[0];
  for (auto [flag, twice] :
       {std::pair("network-alias", !network_aliases_.empty() && !first.aliases.empty()),
        std::pair("ip", !ip_.empty() && !first.ip.empty()),
        std::pair("ip6", !ip6_.empty() && !first.ip6.empty()),
        std::pair("mac-address", !mac_address_.empty() && !first.mac.empty())}) {
    if (twice) {
      return InvalidArgument(
          "conflicting options: cannot specify both --{} and the same per network", flag);
    }
  }
  first.aliases.insert(first.aliases.end(), network_aliases_.begin(), network_aliases_.end());
  first.link_local.insert(first.link_local.end(), link_local_ips_.begin(), link_local_ips_.end());
  if (!ip_.empty()) first.ip = ip_;
  if (!ip6_.empty()) first.ip6 = ip6_;
  if (!mac_address_.empty()) {
    if (!formats::MacAddress::Parse(mac_address_).ok()) {
      return InvalidArgument("{} is not a valid mac address", mac_address_);
    }
    first.mac = mac_address_;
    body->Set("MacAddress", mac_address_);
  }
  host.Set("NetworkMode", first.name);
  bool built_in = first.name == "default" || first.name == "bridge" || first.name == "host" ||
                  first.name == "none" || IsContainerMode(first.name);
  if (built_in) SetUnlessEmpty(&host, "Links", links_);
  Json endpoint = Endpoint(first);
  if (!built_in || (endpoint.size() > 0 && links_.empty() && mac_address_.empty())) {
    body->MutableMember("NetworkingConfig")
        .MutableMember("EndpointsConfig")
        .Set(first.name, std::move(endpoint));
  }
  for (size_t i = 1; i < networks.size(); ++i) {
    if (IsContainerMode(networks[i].name) || networks[i].name == "host" ||
        networks[i].name == "none") {
      return InvalidArgument(
          "conflicting options: cannot attach both user-defined and "
          "non-user-defined network-modes");
    }
    extra->push_back({networks[i].name, Endpoint(networks[i])});
  }
  return {};
}

}  // namespace gantry::cli
