// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/hooks.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/io.h"
#include "kernel/memory_file.h"
#include "kernel/pidfd.h"
#include "kernel/spawn.h"

namespace gantry::runtime::child {
namespace {

Result<> RunHook(const oci::Hook& hook, const std::string& state) {
  // A memory file instead of a pipe: a hook that does not read neither blocks nor kills us.
  UniqueFd input = TRY(kernel::MemoryFile("hook-state", state));
  kernel::SpawnOptions options;
  options.program = hook.path;
  options.args = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  options.env = hook.env;
  options.fds = {{input.get(), 0}, {1, 1}, {2, 2}};
  kernel::SpawnedProcess process = TRY(kernel::Spawn(options));
  if (hook.timeout) {
    pollfd ended{process.pidfd.get(), POLLIN, 0};
    int ready;
    do {
      ready = ::poll(&ended, 1, *hook.timeout * 1000);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
      TRY(kernel::SendSignal(process.pidfd, SIGKILL));
      TRY(kernel::WaitExit(process.pidfd));
      return MakeError(ErrorKind::kDeadlineExceeded, "'{}' ran past its timeout of {} s", hook.path,
                       *hook.timeout);
    }
  }
  kernel::ExitStatus status = TRY(kernel::WaitExit(process.pidfd));
  if (status.ShellCode() != 0) {
    return FailedPrecondition("'{}': exit status {}", hook.path, status.ShellCode());
  }
  return {};
}

}  // namespace

Result<> RunHooks(const std::vector<oci::Hook>& hooks, std::string_view name,
                  const std::string& state) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    TRY_WITH(RunHook(hooks[i], state), "error running {} hook #{}", name, i);
  }
  return {};
}

}  // namespace gantry::runtime::child
