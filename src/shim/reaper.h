// SPDX-License-Identifier: Apache-2.0
//
// The one place that reaps children: SIGCHLD by signalfd, waitid(2) until nobody is left. The shim
// is a subreaper, so the container's init and exec processes end here too. A process may end before
// anybody knows its id (the runtime's pid file is read later), so such exits are kept while a Hold
// lives. The loop's thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <unordered_map>

#include "base/clock.h"
#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "kernel/spawn.h"

namespace gantry::shim {

struct ProcessExit {
  kernel::ExitStatus status;
  WallTime time{};
};

class Reaper {
 public:
  using Callback = std::function<void(const ProcessExit&)>;

  // Blocks SIGCHLD in this thread and makes the process a subreaper.
  static Result<std::unique_ptr<Reaper>> Create(EventLoop* loop);
  ~Reaper();

  // `callback` runs once from the loop, also when the process has ended already under a Hold.
  void OnExit(pid_t pid, Callback callback);

  // While it lives, exits of unknown processes are kept.
  class Hold {
   public:
    explicit Hold(Reaper* reaper) : reaper_(reaper) { ++reaper_->holds_; }
    ~Hold() {
      if (--reaper_->holds_ == 0) reaper_->early_.clear();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Reaper* reaper_;
  };

 private:
  Reaper(EventLoop* loop, UniqueFd signals) : loop_(loop), signals_(std::move(signals)) {}
  void Reap();

  EventLoop* loop_;
  UniqueFd signals_;
  std::unordered_map<pid_t, Callback> callbacks_;
  std::unordered_map<pid_t, ProcessExit> early_;
  int holds_ = 0;
};

}  // namespace gantry::shim
