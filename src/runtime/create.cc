// SPDX-License-Identifier: Apache-2.0
//
// `create` and `start`.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/stop_token.h"
#include "kernel/pidfd.h"
#include "kernel/pty.h"
#include "runtime/child/hooks.h"
#include "runtime/launch.h"
#include "runtime/operations.h"

namespace gantry::runtime {
namespace {

// A killed process is gone in moments, unless the kernel holds it.
constexpr std::chrono::seconds kKillTime{5};

}  // namespace

Result<> Create(CreateOptions options) {
  TRY(CheckId(options.id));
  UniqueFd console;
  if (!options.console_socket.empty()) {
    console = TRY_WITH(kernel::ConnectUnix(options.console_socket), "console socket");
  }
  TRY(Launch(std::move(options), Gate::kClosed, std::move(console)));
  return {};
}

Result<> Start(const std::string& root, const std::string& id) {
  StateDirectory directory(root, id);
  ContainerState state = TRY(directory.Load());
  UniqueFd lock = TRY(directory.Lock());
  Status status = TRY(StatusOf(directory, state));
  if (status == Status::kStopped) {
    return FailedPrecondition("cannot start a container that has stopped");
  }
  if (status != Status::kCreated) {
    return FailedPrecondition("cannot start an already running container");
  }
  UniqueFd gate = TRY_WITH(kernel::ConnectUnix(directory.GatePath()), "starting");
  // From here on it counts as started.
  if (::unlink(directory.GatePath().c_str()) < 0) return ErrnoError("removing the gate");
  Result<child::Received> answer = child::ReceiveMessage(gate);
  if (!answer.ok()) {
    // Its process is about to end; until then the container would look as if it ran.
    Result<UniqueFd> process = kernel::OpenProcess(state.pid, state.start_time);
    if (process.ok()) (void)WaitFor(*process, POLLIN, kKillTime);
    return std::move(answer).error().AddContext("unable to start container process");
  }
  if (*answer != child::Received::kEnd) return Internal("starting: unexpected answer");
  if (!state.poststart_hooks) return {};
  oci::Spec spec = TRY(directory.LoadSpec());
  Result<> hooks =
      child::RunHooks(spec.hooks.poststart, "poststart", StateJson(state, Status::kRunning).Dump());
  if (!hooks.ok()) {
    // A failing poststart hook ends the container (runtime.md, lifecycle step 10, since 1.3).
    Result<UniqueFd> process = kernel::OpenProcess(state.pid, state.start_time);
    if (process.ok()) {
      TRY(kernel::SendSignal(*process, SIGKILL));
      (void)WaitFor(*process, POLLIN, kKillTime);
    }
  }
  return hooks;
}

}  // namespace gantry::runtime
