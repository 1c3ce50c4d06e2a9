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
namespace {

Result<bool> WantsTerminal(const std::string& bundle) {
  formats::Json json = TRY(formats::Json::Parse(TRY(ReadFile(bundle + "/config.json"))));
  return json["process"]["terminal"].AsBool();
}

}  // namespace

Result<int> Run(const RunOptions& options) {
  TRY(CheckId(options.create.id));
  UniqueFd console;
  UniqueFd receiver;
  if (!options.create.console_socket.empty()) {
    console = TRY_WITH(kernel::ConnectUnix(options.create.console_socket), "console socket");
  } else if (!options.detach && TRY(WantsTerminal(options.create.bundle))) {
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
  Launched launched = TRY(Launch(options.create, Gate::kOpen, std::move(console)));
  if (!launched.spec.hooks.poststart.empty()) {
    Result<> hooks = child::RunHooks(launched.spec.hooks.poststart, "poststart",
                                     StateJson(launched.state, Status::kRunning).Dump());
    if (!hooks.ok()) {
      (void)Delete(options.create.root, options.create.id, DeleteMode::kForce);
      return std::move(hooks).error();
    }
  }
  if (options.detach) return 0;
  UniqueFd terminal;
  if (receiver.valid()) terminal = TRY(kernel::ReceiveDescriptor(receiver));
  int code = TRY(forwarder->Follow(launched.pidfd, std::move(terminal)));
  if (!options.keep) {
    TRY(Delete(options.create.root, options.create.id, DeleteMode::kForce));
  }
  return code;
}

}  // namespace gantry::runtime
