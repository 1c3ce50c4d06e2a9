// SPDX-License-Identifier: Apache-2.0
//
// The verbs of the OCI runtime, one a file. Called by cmd/gantry-runtime; one thread. Errors have
// the texts that callers match ("container does not exist", "container not running", …).
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/spawn.h"
#include "oci/runtime_spec.h"
#include "runtime/prepared.h"
#include "runtime/state.h"

namespace gantry::runtime {

struct Bundle {
  std::string path;    // absolute
  std::string config;  // config.json as it is
  oci::Spec spec;      // the same, read and checked; has a process
};
Result<Bundle> LoadBundle(const std::string& path);

// Who makes a container's cgroups. kDisabled: nobody, it stays in the caller's.
enum class CgroupManager : uint8_t { kCgroupfs, kSystemd, kDisabled };

struct CreateOptions {
  std::string root;  // of the state directories
  std::string id;
  Bundle bundle;
  std::string pid_file;
  std::string console_socket;
  std::string pidfd_socket;  // gets a pidfd of the container's process
  bool no_pivot = false;
  bool no_new_keyring = false;
  unsigned preserve_fds = 0;
  int root_fd = -1;  // inherited: docs/root-handover.md
  CgroupManager cgroup_manager = CgroupManager::kCgroupfs;
  // Whether the container may go without cgroups where making them is not allowed; none: if the
  // caller is not the host's root.
  std::optional<bool> rootless;
};

Result<> Create(CreateOptions options);
Result<> Start(const std::string& root, const std::string& id);

struct RunOptions {
  CreateOptions create;
  bool detach = false;
  bool keep = false;  // leaves the state after the end, for `delete`
};
// The exit code of the process in the foreground, 0 when detached.
Result<int> Run(RunOptions options);

struct ExecOptions {
  std::string root;
  std::string id;
  oci::Process process;
  // What a caller that needed it has read already.
  std::optional<Prepared> prepared;
  std::string pid_file;
  std::string console_socket;
  std::string pidfd_socket;  // gets a pidfd of the process
  // "PATH" or, on v1, "CONTROLLER,…:PATH": below the container's own cgroup, where it must be.
  std::vector<std::string> sub_cgroups;
  unsigned preserve_fds = 0;
  bool detach = false;
  bool ignore_paused = false;
  bool inherit_seccomp = true;
};
Result<int> Exec(ExecOptions options);

enum class KillScope : uint8_t { kFirstProcess, kAll };
Result<> Kill(const std::string& root, const std::string& id, int signal, KillScope scope);

enum class DeleteMode : uint8_t { kStopped, kForce };
Result<> Delete(const std::string& root, const std::string& id, DeleteMode mode);

Result<> Pause(const std::string& root, const std::string& id);
Result<> Resume(const std::string& root, const std::string& id);

// What `update` changes of linux.intelRdt; empty: unchanged.
struct CacheUpdate {
  std::string l3_cache_schema;
  std::string mem_bw_schema;
};
Result<> Update(const std::string& root, const std::string& id, const oci::Resources& resources,
                const CacheUpdate& cache);

// As `state` prints it.
Result<formats::Json> State(const std::string& root, const std::string& id);
Result<std::vector<pid_t>> Processes(const std::string& root, const std::string& id);
// One record of `events --stats`.
Result<formats::Json> Stats(const std::string& root, const std::string& id);
using EventPrinter = std::function<Result<>(const formats::Json& record)>;
// Statistics at each interval and kills for lack of memory, until the container ends.
Result<> Events(const std::string& root, const std::string& id, std::chrono::milliseconds interval,
                const EventPrinter& print);
formats::Json Features();
// What `spec` writes, and `spec --rootless`: for the calling user alone.
formats::Json DefaultSpec();
formats::Json RootlessSpec();

}  // namespace gantry::runtime
