// SPDX-License-Identifier: Apache-2.0
//
// The parent's side of starting a container's first process, shared by `create` and `run`. The
// protocol is drawn in runtime/child/plan.h.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/cgroups.h"
#include "runtime/child/plan.h"
#include "runtime/operations.h"
#include "runtime/state.h"

namespace gantry::runtime {

struct Launched {
  ContainerState state;
  UniqueFd pidfd;
  oci::Spec spec;
};

enum class Gate : uint8_t { kClosed, kOpen };

// Makes cgroups, namespaces and the process. With a closed gate it returns when the process waits
// there, with an open one when the program has been executed. On failure nothing is left behind.
Result<Launched> Launch(CreateOptions options, Gate gate, UniqueFd console_socket);

// seccomp(2)'s program for the container's processes; its listener is not connected yet.
Result<child::SeccompProgram> PrepareSeccomp(const oci::Spec& spec);
// Does nothing for a program without a listener.
Result<> ConnectListener(child::SeccompProgram* program);

Result<> WritePidFile(const std::string& path, pid_t pid);

// --pidfd-socket: a connection made before there is a process, and the process sent over it with
// `kind`, "standard" or "setns", as runc calls a container's first process and one that joins.
Result<UniqueFd> ConnectPidfdSocket(const std::string& path);
Result<> SendPidfd(BorrowedFd socket, BorrowedFd pidfd, std::string_view kind);

// All of them: the container is gone whatever they say, so a failure is a warning (runtime.md,
// lifecycle step 13).
void RunPoststopHooks(const oci::Spec& spec, const ContainerState& state);

// LISTEN_FDS of our environment counts as preserved descriptors, and is handed on.
unsigned PreservedFds(unsigned asked, std::vector<std::string>* environment);

}  // namespace gantry::runtime
