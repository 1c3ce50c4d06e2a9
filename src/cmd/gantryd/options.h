// SPDX-License-Identifier: Apache-2.0
//
// gantryd's configuration: the command line and daemon.json (docs/daemon-config.md) read into one
// struct. Both say the same through one table (option_table.cc); a setting that is in both, a key
// that nobody knows and a value that can't be are errors in dockerd's words. Plain data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "engine/settings.h"
#include "engine/user_remap.h"
#include "formats/ip_address.h"
#include "networks/networks.h"

namespace gantry::gantryd {

struct TlsFiles {
  bool enabled = false;  // --tls
  bool verify = false;   // --tlsverify: clients need a certificate of the authority
  std::string authority;
  std::string certificate;
  std::string key;
};

// Networks that several hosts share (cluster.h).
struct ClusterOptions {
  std::string store;      // "etcd://HOST:PORT,…"; "": none
  std::string advertise;  // an address or an interface of this host
  std::map<std::string, std::string> store_options;
  bool operator==(const ClusterOptions&) const = default;
};

// What the unix sockets' group is called unless somebody says otherwise.
inline constexpr std::string_view kUsualGroup = "docker";

struct Options {
  std::string root = "/var/lib/gantry";
  std::string state = "/run/gantry";
  std::vector<std::string> hosts;  // empty: unix://STATE/gantry.sock
  std::string docker_socket;       // served besides, and kept by a process of its own; "": none
  std::string group = std::string(kUsualGroup);  // of the unix sockets
  std::string containerd;                        // "": gantryd runs gantry-containerd
  std::string containerd_namespace = "gantry";
  std::string bridge = "gantry0";
  std::optional<bool> ip_forward;  // unset: on, unless the backend is none
  networks::Options networks;      // the rest of it is set from the others
  bool pools_given = false;
  ClusterOptions cluster;
  std::string cgroup_parent = "/gantry";
  std::string pid_file;  // "": STATE/gantryd.pid
  std::string log_level = "info";
  std::string log_format = "text";
  std::string metrics_address;  // HOST:PORT
  std::string userns_remap;     // USER[:GROUP]; "": ids in containers are those of the host
  std::optional<engine::UserRemap> remap;  // what RemapUsers has found for it
  TlsFiles tls;
  engine::Settings settings;

  std::string config_file = "/etc/gantry/daemon.json";
  bool config_file_given = false;
  bool validate = false;  // check the configuration and exit
  bool keep = false;      // stay as a parent that starts the daemon again when it is killed
  bool version = false;
  bool help = false;
  // What is read and changes nothing here, one line each.
  std::vector<std::string> warnings;

  log::Level Level() const;
  log::Format Format() const;
};

// kInvalidArgument names the flag or key that is wrong.
Result<Options> ParseOptions(const std::vector<std::string>& arguments);
std::string Usage();

// Reads the ranges that `userns_remap` names, and moves the root into a directory of its own for
// them, ROOT/UID.GID as with dockerd: files of another mapping are never mixed in.
Result<> RemapUsers(Options* options);

// What of `wanted` a running daemon that has `present` can't take over: the keys that wait for the
// next start.
std::vector<std::string> NeedRestart(const Options& present, const Options& wanted);

}  // namespace gantry::gantryd
