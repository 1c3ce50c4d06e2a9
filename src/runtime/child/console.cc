// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/console.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "kernel/pty.h"
#include "runtime/child/targets.h"

namespace gantry::runtime::child {
namespace {

// The container may have put anything there, so the file system's type is what counts
// (CVE-2025-52565).
Result<UniqueFd> OpenMultiplexer(BorrowedFd root) {
  UniqueFd place = TRY(kernel::OpenIn(root, "dev/pts/ptmx", O_PATH | O_NOFOLLOW));
  struct statfs info{};
  if (::fstatfs(place.get(), &info) < 0) return ErrnoError("looking at '/dev/pts'");
  if (info.f_type != DEVPTS_SUPER_MAGIC) {
    return FailedPrecondition("'/dev/pts' is not a devpts file system");
  }
  return kernel::OpenIn(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW);
}

}  // namespace

Result<> AttachTerminal(BorrowedFd root, const ProcessPlan& plan, ConsoleNode node) {
  kernel::Pty pty = TRY_WITH(kernel::OpenPty(TRY(OpenMultiplexer(root))), "opening a terminal");
  if (plan.process->console_size) {
    TRY(kernel::SetWindowSize(pty.master, plan.process->console_size->height,
                              plan.process->console_size->width));
  }
  if (::fchown(pty.slave.get(), plan.process->user.uid, static_cast<gid_t>(-1)) < 0) {
    return ErrnoError("giving the terminal to user {}", plan.process->user.uid);
  }
  if (node == ConsoleNode::kAtConsole) {
    Target target = TRY(MakeTarget(root, "dev/console", TargetKind::kFile));
    UniqueFd shown = TRY(kernel::CloneMount(pty.slave, "", kernel::BindKind::kBind));
    TRY_WITH(kernel::AttachMount(shown, target.fd), "showing '/dev/console'");
  }
  TRY(kernel::SendDescriptor(plan.console_socket, pty.master,
                             fmt::format("/dev/pts/{}", pty.number)));
  TRY(kernel::MakeControllingTerminal(pty.slave));
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(pty.slave.get(), fd) < 0) return ErrnoError("placing the terminal");
  }
  return {};
}

}  // namespace gantry::runtime::child
