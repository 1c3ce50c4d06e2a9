// SPDX-License-Identifier: Apache-2.0
#include "kernel/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "base/undo.h"
#include "kernel/clone.h"
#include "kernel/spawn.h"

namespace gantry::kernel {

namespace {

// Runs `take` with the number of a process that `flags` have made namespaces for, once it has run
// `prepare`: an error number. Of several threads it has only this one, so it may do nothing but
// system calls.
template <typename Prepare, typename Take>
Result<> InChild(uint64_t flags, Prepare prepare, Take take) {
  // Its end in the child says that we are done, or dead.
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd wait(ends[0]);
  UniqueFd hold(ends[1]);
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd answer(ends[0]);
  UniqueFd tell(ends[1]);
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD | flags;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  pid_t pid = CloneFork(&args);
  if (pid < 0) return ErrnoErrorOf(-pid, "making a user namespace");
  if (pid == 0) {
    ::close(hold.get());
    int error = prepare();
    (void)!::write(tell.get(), &error, sizeof error);
    char byte;
    while (::read(wait.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    ::_exit(0);
  }
  UniqueFd process(pidfd);
  Undo end;
  end.Push([&] {
    hold.Reset();
    (void)WaitExit(process);
  });
  tell.Reset();
  int error = 0;
  TRY_WITH(ReadExactly(answer, &error, sizeof error), "making namespaces");
  if (error != 0) return ErrnoErrorOf(error, "making namespaces");
  return take(pid);
}

}  // namespace

Result<UniqueFd> MakeUserNamespace(const std::string& uid_map, const std::string& gid_map) {
  UniqueFd user;
  TRY(InChild(
      CLONE_NEWUSER, [] { return 0; },
      [&](pid_t pid) -> Result<> {
        TRY(WriteFile(fmt::format("/proc/{}/uid_map", pid), uid_map));
        TRY(WriteFile(fmt::format("/proc/{}/gid_map", pid), gid_map));
        user = TRY(OpenFile(fmt::format("/proc/{}/ns/user", pid), O_RDONLY));
        return {};
      }));
  return user;
}

Result<UniqueFd> MakeNetworkNamespaceIn(BorrowedFd user_namespace) {
  UniqueFd network;
  auto enter = [&] {
    if (::setns(user_namespace.get(), CLONE_NEWUSER) < 0) return errno;
    return ::unshare(CLONE_NEWNET) < 0 ? errno : 0;
  };
  TRY(InChild(0, enter, [&](pid_t pid) -> Result<> {
    network = TRY(OpenFile(fmt::format("/proc/{}/ns/net", pid), O_RDONLY));
    return {};
  }));
  return network;
}

}  // namespace gantry::kernel
