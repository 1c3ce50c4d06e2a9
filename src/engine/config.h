// SPDX-License-Identifier: Apache-2.0
//
// What a client asks for when it creates a container: docker's ContainerConfig, HostConfig and
// NetworkingConfig (Engine API, POST /containers/create), read from JSON, checked, and written back
// for inspect. Field names follow the API, in snake case. Plain data; any thread.
//
// To add a field: add the member here and one line to its Visit() in config.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::engine {

// A JSON object used as a set, such as {"80/tcp": {}}; told in the order of its names, as Go does.
struct NameSet {
  std::set<std::string> names;
};
// A string or an array of strings; `set` tells null (take the image's) from an empty list.
struct CommandLine {
  bool set = false;
  std::vector<std::string> words;
};

struct Healthcheck {
  std::vector<std::string> test;  // {"NONE"}, {"CMD", …} or {"CMD-SHELL", …}
  int64_t interval = 0;           // nanoseconds, as the three below
  int64_t timeout = 0;
  int64_t start_period = 0;
  int64_t start_interval = 0;
  int64_t retries = 0;
};

struct ContainerConfig {
  std::string hostname;
  std::string domainname;
  std::string user;
  bool attach_stdin = false;
  bool attach_stdout = false;
  bool attach_stderr = false;
  NameSet exposed_ports;  // "80/tcp"
  bool tty = false;
  bool open_stdin = false;
  bool stdin_once = false;
  std::vector<std::string> env;
  CommandLine cmd;
  std::optional<Healthcheck> healthcheck;
  bool args_escaped = false;  // kept for inspect; only Windows knows what it means
  std::string image;
  NameSet volumes;
  std::string working_dir;
  CommandLine entrypoint;
  bool network_disabled = false;
  std::string mac_address;
  std::vector<std::string> on_build;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  std::optional<int64_t> stop_timeout;  // seconds; -1: wait for ever
  std::vector<std::string> shell;
};

struct PortBinding {
  std::string host_ip;
  std::string host_port;  // "", "8080" or "8000-8010"
};
struct RestartPolicy {
  std::string name;  // "", "no", "always", "on-failure", "unless-stopped"
  int64_t maximum_retry_count = 0;
};
struct LogConfig {
  std::string type;
  std::map<std::string, std::string> config;
};
struct DeviceMapping {
  std::string path_on_host;
  std::string path_in_container;
  std::string cgroup_permissions;
};
// Devices by name rather than by path; see device_requests.h.
struct DeviceRequest {
  std::string driver;  // "cdi", "nvidia", …; "" takes one by `capabilities`
  int64_t count = 0;   // -1: all
  std::vector<std::string> device_ids;
  std::vector<std::vector<std::string>> capabilities;  // any of these lists, all of one list
  std::map<std::string, std::string> options;
};
struct ThrottleDevice {
  std::string path;
  uint64_t rate = 0;  // bytes or operations a second
};
struct WeightDevice {
  std::string path;
  uint32_t weight = 0;
};
struct InterfacePriority {
  std::string name;
  uint32_t priority = 0;
};
struct Ulimit {
  std::string name;
  int64_t soft = 0;
  int64_t hard = 0;
};
struct MountBindOptions {
  std::string propagation;
  bool non_recursive = false;
  bool create_mountpoint = false;
  bool read_only_non_recursive = false;
  bool read_only_force_recursive = false;
};
struct MountDriver {
  std::string name;
  std::map<std::string, std::string> options;
};
struct MountVolumeOptions {
  bool no_copy = false;
  std::map<std::string, std::string> labels;
  std::optional<MountDriver> driver_config;
  std::string subpath;
};
struct MountImageOptions {
  std::string subpath;
};
struct MountTmpfsOptions {
  int64_t size_bytes = 0;
  uint32_t mode = 0;
  std::vector<std::vector<std::string>> options;  // {"exec"} or {"noexec"}
};
struct MountConfig {
  std::string type;  // "bind", "volume", "tmpfs", "image"
  std::string source;
  std::string target;
  bool read_only = false;
  std::string consistency;
  std::optional<MountBindOptions> bind_options;
  std::optional<MountVolumeOptions> volume_options;
  std::optional<MountImageOptions> image_options;
  std::optional<MountTmpfsOptions> tmpfs_options;
};

struct HostConfig {
  std::vector<std::string> binds;  // "SRC:DST[:OPTIONS]"
  std::string container_id_file;
  LogConfig log_config;
  std::string network_mode;
  std::map<std::string, std::vector<PortBinding>> port_bindings;  // by "80/tcp"
  RestartPolicy restart_policy;
  bool auto_remove = false;
  std::string volume_driver;
  std::vector<std::string> volumes_from;
  std::array<uint32_t, 2> console_size = {};  // rows, columns; 0: the terminal's own default
  std::map<std::string, std::string> annotations;
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  std::string cgroupns_mode;
  std::vector<std::string> dns;
  std::vector<std::string> dns_options;
  std::vector<std::string> dns_search;
  std::vector<std::string> extra_hosts;
  std::vector<std::string> group_add;
  std::string ipc_mode;
  std::string cgroup;
  std::vector<std::string> links;
  int64_t oom_score_adj = 0;
  std::string pid_mode;
  bool privileged = false;
  bool publish_all_ports = false;
  bool readonly_rootfs = false;
  std::vector<std::string> security_opt;
  std::map<std::string, std::string> storage_opt;
  std::map<std::string, std::string> tmpfs;
  std::string uts_mode;
  std::string userns_mode;
  int64_t shm_size = 0;  // bytes
  std::map<std::string, std::string> sysctls;
  std::string runtime;
  std::string isolation;
  // Resources.
  int64_t cpu_shares = 0;
  int64_t memory = 0;     // bytes
  int64_t nano_cpus = 0;  // 1e-9 CPUs
  std::string cgroup_parent;
  uint32_t blkio_weight = 0;
  std::vector<WeightDevice> blkio_weight_device;
  std::vector<ThrottleDevice> blkio_device_read_bps;
  std::vector<ThrottleDevice> blkio_device_write_bps;
  std::vector<ThrottleDevice> blkio_device_read_iops;
  std::vector<ThrottleDevice> blkio_device_write_iops;
  int64_t cpu_period = 0;  // microseconds, as the three below
  int64_t cpu_quota = 0;
  int64_t cpu_realtime_period = 0;
  int64_t cpu_realtime_runtime = 0;
  std::string cpuset_cpus;
  std::string cpuset_mems;
  std::vector<DeviceMapping> devices;
  std::vector<std::string> device_cgroup_rules;
  std::vector<DeviceRequest> device_requests;
  int64_t memory_reservation = 0;  // bytes
  int64_t memory_swap = 0;         // bytes of memory and swap; -1: no limit
  std::optional<int64_t> memory_swappiness;
  std::optional<bool> oom_kill_disable;
  std::optional<int64_t> pids_limit;
  std::vector<Ulimit> ulimits;
  // Our own, of each network interface, in bits per second (net_rates.h); unset: no limit.
  std::optional<int64_t> net_rate;
  std::optional<int64_t> net_ceil;
  // Of Windows: refused or discarded, see CheckCreate.
  int64_t cpu_count = 0;
  int64_t cpu_percent = 0;
  uint64_t io_maximum_iops = 0;
  uint64_t io_maximum_bandwidth = 0;
  // Our own, of what its sockets send (cgroups v1 net_cls and net_prio); 0: none.
  uint32_t net_class = 0;
  std::vector<InterfacePriority> net_priorities;  // by interface of the host
  std::vector<MountConfig> mounts;
  // Null means the defaults; an empty list means none.
  std::optional<std::vector<std::string>> masked_paths;
  std::optional<std::vector<std::string>> readonly_paths;
  std::optional<bool> init;
};

struct EndpointIpam {
  std::string ipv4_address;
  std::string ipv6_address;
  std::vector<std::string> link_local;
};
struct EndpointConfig {
  std::optional<EndpointIpam> ipam_config;
  std::vector<std::string> links;
  std::vector<std::string> aliases;
  std::string mac_address;
  std::map<std::string, std::string> driver_opts;
  int32_t gateway_priority = 0;
  // Of a user's network that the container has been on: one that is made anew under the same name
  // is another one.
  std::string network_id;
};
struct NetworkingConfig {
  std::map<std::string, EndpointConfig> endpoints_config;  // by network name
  // False only for records of an engine that knew one network a container.
  bool settled = false;
};

struct StepInputs;

// What a step of a build runs on, instead of an image: nothing is merged into its configuration.
struct BuildParent {
  std::string snapshot;                      // a chain id, "" for nothing
  std::string image_id;                      // of the stage's base; "" for scratch
  std::shared_ptr<const StepInputs> inputs;  // step_inputs.h; may be empty
};

struct CreateRequest {
  ContainerConfig config;
  HostConfig host_config;
  NetworkingConfig networking_config;
  // Clients before API 1.44 know of no read-only mounts below a read-only bind.
  bool read_only_non_recursive = false;
  std::string platform;  // ?platform=linux/arm64; "": the host's, or what the image has
  std::optional<BuildParent> build_parent;
};

// Reads the body of POST /containers/create; what its values mean is checked by CheckCreate
// (config_checks.h). Errors: kInvalidArgument with the path of the field.
Result<CreateRequest> ParseCreateRequest(const formats::Json& body);
Result<ContainerConfig> ParseContainerConfig(const formats::Json& json);
Result<HostConfig> ParseHostConfig(const formats::Json& json);
// What `update` may change: the limits and the restart policy; zero and empty mean "as it is".
Result<HostConfig> ParseUpdate(const formats::Json& body);
Result<EndpointConfig> ParseEndpointConfig(const formats::Json& json);

formats::Json ToJson(const ContainerConfig& config);
formats::Json ToJson(const HostConfig& config);
formats::Json ToJson(const EndpointConfig& config);

// What the image's configuration gives where the request says nothing (docker's merge rules): user,
// environment, command, entry point, working directory, ports, volumes, labels, stop signal, health
// check. `image` is the "config" object of the image's configuration.
Result<> MergeImageConfig(const formats::Json& image, ContainerConfig* config);

// docker's rules for an update over what a container has. kAborted, "Conflicting options: …", where
// a limit on processors or memory contradicts one of another kind.
Result<> MergeUpdate(const HostConfig& asked, HostConfig* host);

}  // namespace gantry::engine
