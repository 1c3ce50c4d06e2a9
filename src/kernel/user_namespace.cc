// SPDX-License-Identifier: Apache-2.0
#include "kernel/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "base/io.h"
#include "base/undo.h"
#include "kernel/clone.h"
#include "kernel/spawn.h"

namespace gantry::kernel {

Result<UniqueFd> MakeUserNamespace(const std::string& uid_map, const std::string& gid_map) {
  // Its end in the child says that we are done, or dead.
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd wait(ends[0]);
  UniqueFd hold(ends[1]);
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD | CLONE_NEWUSER;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  pid_t pid = CloneFork(&args);
  if (pid < 0) return ErrnoErrorOf(-pid, "making a user namespace");
  if (pid == 0) {
    hold.Reset();
    char byte;
    (void)ReadSome(wait, &byte, 1);
    ::_exit(0);
  }
  UniqueFd process(pidfd);
  Undo end;
  end.Push([&] {
    hold.Reset();
    (void)WaitExit(process);
  });
  TRY(WriteFile(fmt::format("/proc/{}/uid_map", pid), uid_map));
  TRY(WriteFile(fmt::format("/proc/{}/gid_map", pid), gid_map));
  return OpenFile(fmt::format("/proc/{}/ns/user", pid), O_RDONLY);
}

}  // namespace gantry::kernel
