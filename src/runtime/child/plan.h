// SPDX-License-Identifier: Apache-2.0
//
// What the parent side of `create`, `run` and `exec` has prepared for the process that becomes the
// container's, and the channel between the two. The child is a copy of the runtime made by clone3
// with the new namespaces, so all of this is just there; nothing is encoded or read again.
//
//   parent                                   child
//   clone3 ───────────────────────────────►  joins cgroups (v1: "0" into tasks)
//   starts a systemd scope, writes uid_map, gid_map, moves network devices  (only with one of
//   these) ── kGo ───────────────────────────────►  becomes root of its user namespace
//                                            namespaces by path, root, devices, console
//   ◄─────────────────────────────  kHooks   (only with prestart or createRuntime hooks)
//   runs them
//   ── kGo ───────────────────────────────►  createContainer hooks, pivot_root, identity
//   ◄─────────────────────────────  kReady   create: waits in accept(gate); `start` connects
//   or  ◄──────────────────────────  kError  kind, errno, message; then it exits
//   or  ◄─────────────────────── end of file  execve has succeeded (close-on-exec)
#pragma once

#include <linux/filter.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"

namespace gantry::runtime::child {

enum class Message : uint8_t { kGo = 1, kHooks, kReady, kError };

// One end of a SOCK_SEQPACKET pair.
Result<> SendMessage(BorrowedFd channel, Message message);
Result<> SendFailure(BorrowedFd channel, const Error& error);

enum class Received : uint8_t { kHooks, kReady, kEnd };
// The parent's wait; a kError is returned as that Error.
Result<Received> ReceiveMessage(BorrowedFd channel);
// The child's wait; the parent's death is an error.
Result<> AwaitGo(BorrowedFd channel);

struct SeccompProgram {
  std::vector<sock_filter> filter;  // empty: none
  unsigned flags = 0;               // of seccomp(2)
  bool notifies = false;            // some call goes to a listener
  std::string listener_path;        // who is sent the notification descriptor
  UniqueFd listener_socket;         // the same, connected
  std::string listener_metadata;
};

// What a security module is told (labels.h).
struct Label {
  UniqueFd file;
  std::string command;     // what is written
  std::string value;       // what must be read then
  std::string_view field;  // of config.json
};

// As set_mempolicy(2) takes it.
struct MemoryPolicy {
  int mode = 0;  // and its flags
  std::vector<unsigned long> nodes;
};

// What a process gets, the container's first and an exec's alike.
struct ProcessPlan {
  const oci::Process* process = nullptr;
  SeccompProgram seccomp;
  std::string id;
  bool new_keyring = true;
  UniqueFd console_socket;  // connected; needed when the process has a terminal
  unsigned preserve_fds = 0;
  UniqueFd channel;
  // v1: opened by the parent for writing, since a user namespace has no rights on them. The process
  // writes "0" for itself: a write of another's number into cgroup.procs costs a grace period, 10
  // ms.
  std::vector<UniqueFd> cgroup_tasks;
  std::optional<int> personality;
  std::optional<MemoryPolicy> memory_policy;
  std::vector<unsigned long> final_cpus;  // a mask, for after the cgroup is joined; empty: all
  std::vector<Label> labels;              // opened by the child itself
  bool in_user_namespace = false;
  // As `state` prints it, for hooks and for a seccomp listener; status and pid are filled in.
  std::string container_state;
  int host_pid = 0;  // as the runtime's /proc counts; set by the child itself
};

struct CreatePlan {
  ProcessPlan process;
  const oci::Spec* spec = nullptr;
  std::string bundle;
  std::string rootfs;            // absolute; used when root_fd is none
  UniqueFd root_fd;              // a detached mount (docs/root-handover.md)
  UniqueFd gate;                 // listening; none for `run`
  bool wait_for_parent = false;  // for a kGo, before anything else
  bool wait_for_scope = false;   // systemd moves the process into its cgroup
  std::string mount_label;       // of SELinux, "" where this kernel has none
  bool parent_hooks = false;
  bool no_pivot = false;
  // No mount namespace of its own: the root stays a detached mount, seen by nobody else.
  bool shares_mounts = false;
  // What is to be joined, in order: descriptors and CLONE_NEW* bits.
  struct Join {
    UniqueFd fd;
    int type = 0;
    std::string path;
  };
  std::vector<Join> joins;
  bool user_namespace_joined = false;  // by path, by the stage (runtime/namespace_plan.h)
  bool unshare_cgroup_namespace = false;
  // By the index of the mount in the specification: binds whose ids are mapped already, which takes
  // the host's rights, and user namespaces for the mounts that the child makes itself.
  std::map<size_t, UniqueFd> mapped_binds;
  std::map<size_t, UniqueFd> mount_user_namespaces;
  // v1: "memory" → absolute directory; v2: "" → directory. None: it stays in the caller's, or is
  // moved (wait_for_scope); then the child looks where it is.
  std::map<std::string, std::string> cgroups;
  bool own_cgroups = true;  // made for this container
  bool cgroup_unified = false;
};

struct ExecPlan {
  ProcessPlan process;
  bool wait_for_scope = false;  // as in CreatePlan
  BorrowedFd container;         // pidfd of its first process
  int namespaces = 0;           // CLONE_NEW* bits for setns
  UniqueFd root;                // the container's, if its mount namespace is ours
};

// `state` as hooks and listeners are shown it: with this status and process.
std::string WithStatus(const std::string& state, std::string_view status, int pid);

// Both never return but by the child's end. Called in the child.
[[noreturn]] void RunCreated(CreatePlan* plan);
[[noreturn]] void RunExec(ExecPlan* plan);

}  // namespace gantry::runtime::child
