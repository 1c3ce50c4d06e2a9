// SPDX-License-Identifier: Apache-2.0
#include "shim/reaper.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <cerrno>

namespace gantry::shim {

Result<std::unique_ptr<Reaper>> Reaper::Create(EventLoop* loop) {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return ErrnoError("becoming a subreaper");
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &mask, nullptr) < 0) return ErrnoError("blocking SIGCHLD");
  UniqueFd signals(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return ErrnoError("making a signal descriptor");
  std::unique_ptr<Reaper> reaper(new Reaper(loop, std::move(signals)));
  Reaper* self = reaper.get();
  TRY(loop->Watch(reaper->signals_, EPOLLIN, [self](uint32_t) {
    signalfd_siginfo info;
    while (::read(self->signals_.get(), &info, sizeof info) > 0) {
    }
    self->Reap();
  }));
  return reaper;
}

Reaper::~Reaper() { loop_->Unwatch(signals_); }

void Reaper::OnExit(pid_t pid, Callback callback) {
  auto early = early_.find(pid);
  if (early == early_.end()) {
    callbacks_[pid] = std::move(callback);
    return;
  }
  loop_->Post([callback = std::move(callback), exit = early->second] { callback(exit); });
  early_.erase(early);
}

void Reaper::Reap() {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0) {
      if (errno == EINTR) continue;
      return;  // ECHILD: no children
    }
    if (info.si_pid == 0) return;
    ProcessExit exit;
    exit.time = WallClock::now();
    if (info.si_code == CLD_EXITED) {
      exit.status.code = info.si_status;
    } else {
      exit.status.signal = info.si_status;
      exit.status.core_dumped = info.si_code == CLD_DUMPED;
    }
    auto found = callbacks_.find(info.si_pid);
    if (found == callbacks_.end()) {
      if (holds_ > 0) early_.insert_or_assign(info.si_pid, exit);
      continue;
    }
    Callback callback = std::move(found->second);
    callbacks_.erase(found);
    callback(exit);
  }
}

}  // namespace gantry::shim
