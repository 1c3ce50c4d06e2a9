// SPDX-License-Identifier: Apache-2.0
//
// What the runtime remembers of a container: ROOT/ID/state.json, the copy of its config.json beside
// it with what `exec` needs of that (runtime/prepared.h), and ROOT/ID/gate, the socket that `start`
// connects to (there only until it was started).
// The status is never stored: it is what the kernel says of the process. Written by replacing the
// file; whoever changes a container holds a lock on ROOT/ID (flock).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "formats/json.h"
#include "kernel/cgroups.h"
#include "oci/runtime_spec.h"
#include "runtime/intel_rdt.h"

namespace gantry::runtime {

enum class Status { kCreating, kCreated, kRunning, kPaused, kStopped };
std::string_view StatusName(Status status);

struct ContainerState {
  std::string id;
  std::string bundle;
  std::string rootfs;
  WallTime created;
  pid_t pid = 0;            // 0: not there yet
  uint64_t start_time = 0;  // of the process: clock ticks since boot
  kernel::CgroupPaths cgroups;
  std::string scope;        // systemd's unit; "": cgroups by the file system
  bool user_scope = false;  // of the user's own systemd
  bool user_namespace = false;
  bool new_pid_namespace = true;
  bool no_new_keyring = false;
  // Whether config.json has such, so that it need not be read to know that there are none.
  bool poststart_hooks = true;
  bool poststop_hooks = true;
  RdtGroup rdt;
  std::map<std::string, std::string> annotations;
};

class StateDirectory {
 public:
  StateDirectory(std::string root, std::string id);

  const std::string& path() const { return path_; }
  std::string GatePath() const { return path_ + "/gate"; }
  std::string ConfigPath() const { return path_ + "/config.json"; }
  std::string PreparedPath() const { return path_ + "/prepared"; }

  // Makes ROOT/ID; kAlreadyExists if it is there.
  Result<> Create();
  Result<> Remove();
  Result<> Save(const ContainerState& state) const;
  // kNotFound "container does not exist" when there is none.
  Result<ContainerState> Load() const;
  // Held until the descriptor is closed.
  Result<UniqueFd> Lock() const;
  Result<oci::Spec> LoadSpec() const;

 private:
  std::string root_;
  std::string id_;
  std::string path_;
};

// Letters, digits and "_+-." as runc's; not "." or "..".
Result<> CheckId(const std::string& id);

// From the kernel: process, gate, freezer.
Result<Status> StatusOf(const StateDirectory& directory, const ContainerState& state);

// As `state` prints it and hooks get it (runtime.md, "State"). pid only while it lives.
formats::Json StateJson(const ContainerState& state, Status status);

Result<std::vector<std::string>> ListIds(const std::string& root);

}  // namespace gantry::runtime
