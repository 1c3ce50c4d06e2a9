// SPDX-License-Identifier: Apache-2.0
//
// `run`: create and start in one, without a gate.
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/io.h"
#include "kernel/pidfd.h"
#include "kernel/pty.h"
#include "runtime/child/hooks.h"
#include "runtime/foreground.h"
#include "runtime/launch.h"
#include "runtime/operations.h"

namespace gantry::runtime {
Result<int> Run(RunOptions options) {
  TRY(CheckId(options.create.id));
  UniqueFd console;
  UniqueFd receiver;
  if (!options.create.console_socket.empty()) {
    console = TRY_WITH(kernel::ConnectUnix(options.create.console_socket), "console socket");
  } else if (!options.detach && options.create.bundle.spec.process->terminal) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
      return ErrnoError("making a socket pair");
    }
    receiver = UniqueFd(ends[0]);
    console = UniqueFd(ends[1]);
  }
  std::optional<SignalForwarder> forwarder;
  if (!options.detach) {
    forwarder = TRY(SignalForwarder::Create());
    // Orphans of the container's process become ours instead of some ancestor's.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  }
  std::string root = options.create.root;
  std::string id = options.create.id;
  Launched launched = TRY(Launch(std::move(options.create), Gate::kOpen, std::move(console)));
  if (!launched.spec.hooks.poststart.empty()) {
    Result<> hooks = child::RunHooks(launched.spec.hooks.poststart, "poststart",
                                     StateJson(launched.state, Status::kRunning).Dump());
    if (!hooks.ok()) {
      (void)Delete(root, id, DeleteMode::kForce);
      return std::move(hooks).error();
    }
  }
  if (options.detach) return 0;
  UniqueFd terminal;
  if (receiver.valid()) terminal = TRY(kernel::ReceiveDescriptor(receiver));
  int code = TRY(forwarder->Follow(launched.pidfd, std::move(terminal)));
  if (!options.keep) {
    TRY(Delete(root, id, DeleteMode::kForce));
  }
  return code;
}

}  // namespace gantry::runtime
