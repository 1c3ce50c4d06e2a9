// SPDX-License-Identifier: Apache-2.0
//
// `kill` and `delete`.
#include <poll.h>
#include <signal.h>

#include "base/io.h"
#include "kernel/cgroups.h"
#include "kernel/pidfd.h"
#include "kernel/spawn.h"
#include "runtime/cgroup_manager.h"
#include "runtime/child/hooks.h"
#include "runtime/launch.h"
#include "runtime/operations.h"
#include "runtime/warnings.h"

namespace gantry::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kKillTime = seconds(2);
constexpr milliseconds kCleanUpTime = seconds(10);

// Waits until the process has ended; somebody else reaps it, or we do if it is our child.
Result<> AwaitEnd(BorrowedFd pidfd, milliseconds limit) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&ended, 1, static_cast<int>(limit.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    return MakeError(ErrorKind::kDeadlineExceeded, "the container's process does not end");
  }
  (void)kernel::PollExit(pidfd);
  return {};
}

// On v1 a frozen process takes its SIGKILL when it is thawed.
Result<> ThawForKill(const ContainerState& state) {
  if (!TRY(kernel::CgroupIsFrozen(state.cgroups))) return {};
  return kernel::FreezeCgroup(state.cgroups, kernel::Freeze::kThaw, kKillTime);
}

Result<> KillEverything(const ContainerState& state) {
  Result<UniqueFd> process = kernel::OpenProcess(state.pid, state.start_time);
  if (process.ok()) TRY(kernel::SendSignal(*process, SIGKILL));
  // Without a pid namespace of its own, and after a crash of ours, others may be left.
  if (!state.cgroups.directories.empty() && PathExists(state.cgroups.Main())) {
    TRY(kernel::KillCgroup(state.cgroups, kKillTime));
    TRY(ThawForKill(state));
  }
  if (process.ok()) return AwaitEnd(*process, kCleanUpTime);
  return {};
}

}  // namespace

Result<> Kill(const std::string& root, const std::string& id, int signal, KillScope scope) {
  StateDirectory directory(root, id);
  ContainerState state = TRY(directory.Load());
  Status status = TRY(StatusOf(directory, state));
  if (scope == KillScope::kAll && !state.cgroups.directories.empty()) {
    if (signal != SIGKILL) return kernel::SignalCgroup(state.cgroups, signal);
    TRY(kernel::KillCgroup(state.cgroups, kKillTime));
    return ThawForKill(state);
  }
  // The first process takes its pid namespace with it.
  if (scope == KillScope::kAll && (signal != SIGKILL || !state.new_pid_namespace)) {
    return FailedPrecondition("sending a signal to all processes: the container has no cgroup");
  }
  if (status == Status::kStopped) return FailedPrecondition("container not running");
  Result<UniqueFd> process = kernel::OpenProcess(state.pid, state.start_time);
  if (!process.ok()) return FailedPrecondition("os: process already finished");
  TRY(kernel::SendSignal(*process, signal));
  return signal == SIGKILL ? ThawForKill(state) : Result<>();
}

void RunPoststopHooks(const oci::Spec& spec, const ContainerState& state) {
  for (const oci::Hook& hook : spec.hooks.poststop) {
    Result<> done = child::RunHooks({hook}, "poststop", StateJson(state, Status::kStopped).Dump());
    if (!done.ok()) Warn(done.error().message());
  }
}

Result<> Delete(const std::string& root, const std::string& id, DeleteMode mode) {
  StateDirectory directory(root, id);
  Result<ContainerState> loaded = directory.Load();
  if (!loaded.ok()) {
    bool gone = loaded.error().kind() == ErrorKind::kNotFound;
    if (gone && mode == DeleteMode::kForce) return {};
    return std::move(loaded).error();
  }
  UniqueFd lock = TRY(directory.Lock());
  ContainerState state = TRY(directory.Load());
  Status status = TRY(StatusOf(directory, state));
  if (mode == DeleteMode::kForce) {
    if (status != Status::kStopped || state.pid == 0 || !state.new_pid_namespace) {
      TRY(KillEverything(state));
    }
  } else if (status != Status::kStopped) {
    return FailedPrecondition("cannot delete container {} that is not stopped: {}", id,
                              StatusName(status));
  }
  Result<> removed = RemoveContainerCgroups(state, kCleanUpTime);
  if (!removed.ok() && removed.error().error_number() == EBUSY) {
    // Processes outside of the pid namespace's reach.
    TRY(kernel::KillCgroup(state.cgroups, kKillTime));
    removed = RemoveContainerCgroups(state, kCleanUpTime);
  }
  if (removed.ok()) removed = RemoveRdtGroup(state.rdt);
  Result<oci::Spec> spec = oci::Spec();
  if (state.poststop_hooks) spec = directory.LoadSpec();
  TRY(directory.Remove());
  TRY(std::move(removed));
  if (spec.ok()) RunPoststopHooks(*spec, state);
  return {};
}

}  // namespace gantry::runtime
