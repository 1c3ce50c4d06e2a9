// SPDX-License-Identifier: Apache-2.0
//
// From docker's words to the OCI's: makes config.json of a container, with docker's defaults
// (capabilities, seccomp, masked paths, device rules, mounts), and the process of an exec. Reads
// the host (device numbers, capabilities), changes nothing. Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/accounts.h"
#include "engine/config.h"
#include "engine/user_remap.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

// Fills what a request leaves open, as dockerd does at create: network mode, memory and swap, size
// of /dev/shm, ipc and cgroup namespace modes, log driver, restart policy, runtime.
void ApplyHostDefaults(bool unified_cgroups, HostConfig* host);

// A mount's option: its files have the container's ids, whatever they are on the host.
inline constexpr const char* kMapped = "idmap";

struct SpecRequest {
  std::string id;
  // Merged with the image's; working_dir and user are the container's final ones.
  const ContainerConfig* config = nullptr;
  const HostConfig* host = nullptr;
  Accounts accounts;
  // Binds, volumes and the engine's own files, in the order in which they are mounted. --tmpfs and
  // tmpfs mounts of `host` are added here, not by the caller.
  std::vector<oci::Mount> mounts;
  // Paths of namespaces to join: /run/gantry/netns/ID, or /proc/PID/ns/… of another container.
  std::string network_namespace;
  std::string ipc_namespace;
  std::string pid_namespace;
  // With --userns-remap: the namespace that its root belongs to, and what ids in it are outside.
  std::string user_namespace;
  const UserRemap* remap = nullptr;
  std::vector<std::string> link_environment;  // links.h
  std::string shm_source;  // bound on /dev/shm; "": a tmpfs of the container's own
  std::vector<std::string> cdi_directories = {};
  std::string uts_hostname;           // the container's hostname; unused with --uts host
  std::string default_cgroup_parent;  // "/gantry"
  std::string init_program;           // gantry-init on the host, for --init
  std::string root_path = "rootfs";   // relative to the bundle
  bool unified_cgroups = false;       // cgroup v2
};

// Errors: kInvalidArgument in docker's words.
Result<oci::Spec> MakeSpec(const SpecRequest& request);

// Variables of the container, later ones over earlier ones; a name without "=" takes one away.
std::vector<std::string> MergeEnvironment(std::vector<std::string> base,
                                          const std::vector<std::string>& over);

// The process alone, as MakeSpec makes it: what an exec starts from.
Result<oci::Process> MakeContainerProcess(const SpecRequest& request);

struct ExecConfig {
  std::vector<std::string> cmd;
  std::vector<std::string> env;
  std::string user;         // "" for the container's
  std::string working_dir;  // "" for the container's
  bool tty = false;
  bool privileged = false;
};
// `container` is the process of the container's own spec; `accounts` those of its running root.
Result<oci::Process> MakeExecProcess(const ExecConfig& exec, const ContainerConfig& config,
                                     const HostConfig& host, const oci::Process& container,
                                     const Accounts& accounts);

// The "resources" of a container: for create, and for update of a running one.
Result<oci::Resources> MakeResources(const HostConfig& host);

}  // namespace gantry::engine
