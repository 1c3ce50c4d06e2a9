// SPDX-License-Identifier: Apache-2.0
//
// The flags that `run` and `create` share, and the body of POST /containers/create that they make.
// One thread.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cmd/gantry/flags.h"
#include "cmd/gantry/resource_flags.h"
#include "formats/json.h"

namespace gantry::cli {

// A network to join beyond the first, by POST /networks/NAME/connect after create.
struct ExtraNetwork {
  std::string name;
  formats::Json endpoint;
};

struct ContainerRequest {
  formats::Json body;  // Config with HostConfig and NetworkingConfig
  std::vector<ExtraNetwork> extra_networks;
};

class ContainerOptions {
 public:
  void Bind(Flags* flags);
  // `args` are the image and the command; `flags` tells what was given at all.
  Result<ContainerRequest> Build(const Flags& flags, const std::vector<std::string>& args);

  bool tty = false;
  bool interactive = false;
  bool remove = false;
  std::vector<std::string> attach;
  std::string name;
  std::string cidfile;
  std::string pull = "missing";
  std::string platform;
  bool quiet = false;
  bool use_api_socket = false;

 private:
  using Strings = std::vector<std::string>;
  struct NetworkSpec {
    std::string name;
    Strings aliases;
    formats::Json driver_options;
    std::string ip, ip6, mac;
    Strings link_local;
    int64_t gateway_priority = 0;
  };

  void BindProcessFlags(Flags* flags);
  void BindResourceFlags(Flags* flags);
  void BindIsolationFlags(Flags* flags);
  void BindStorageAndNetworkFlags(Flags* flags);

  Result<> BuildProcess(const Flags& flags, const Strings& args, formats::Json* config) const;
  Result<> BuildHealth(const Flags& flags, formats::Json* config) const;
  Result<> BuildPorts(formats::Json* config, formats::Json* host) const;
  Result<> BuildStorage(formats::Json* config, formats::Json* host) const;
  Result<> BuildIsolation(const Flags& flags, formats::Json* host) const;
  Result<> BuildSecurity(formats::Json* host) const;
  Result<> BuildResources(const Flags& flags, formats::Json* host) const;
  Result<> BuildNetworks(formats::Json* body, std::vector<ExtraNetwork>* extra) const;
  Result<NetworkSpec> ParseNetwork(const std::string& text) const;
  formats::Json Endpoint(const NetworkSpec& network) const;

  // Process
  std::string entrypoint_, user_, workdir_, hostname_, domainname_, stop_signal_;
  int64_t stop_timeout_ = 0;
  Strings env_, env_files_, labels_, label_files_, annotations_;
  std::string health_command_;
  std::chrono::nanoseconds health_interval_{}, health_timeout_{}, health_start_period_{},
      health_start_interval_{};
  int64_t health_retries_ = 0;
  bool no_healthcheck_ = false;
  bool init_ = false;
  std::string restart_;
  // Storage
  Strings volumes_, mounts_, tmpfs_, volumes_from_, storage_options_;
  std::string volume_driver_;
  bool read_only_ = false;
  // Network
  Strings publish_, expose_, networks_, network_aliases_, links_, dns_, dns_options_, dns_search_,
      extra_hosts_, link_local_ips_;
  std::string ip_, ip6_, mac_address_;
  bool publish_all_ = false;
  // Isolation
  bool privileged_ = false;
  Strings cap_add_, cap_drop_, security_options_, devices_, device_rules_, group_add_, sysctls_;
  std::string userns_, pid_, ipc_, uts_, cgroupns_, runtime_, isolation_, cgroup_parent_;
  std::string log_driver_;
  Strings log_options_;
  // Resources
  NumberFields numbers_;
  std::string cpuset_cpus_, cpuset_mems_;
  Strings gpus_;
  Strings ulimits_, read_bps_, write_bps_, read_iops_, write_iops_, weight_devices_;
  Strings net_priorities_;
  bool oom_kill_disable_ = false;
};

}  // namespace gantry::cli
