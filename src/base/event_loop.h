// SPDX-License-Identifier: Apache-2.0
//
// One epoll loop. Callbacks, timers and posted functions run in the thread that calls Run(); only
// Post() and Stop() may be called from other threads. Level-triggered. A callback may watch and
// unwatch any descriptor, its own too.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"

namespace gantry {

class EventLoop {
 public:
  // Receives the epoll events (EPOLLIN, EPOLLHUP, …).
  using Callback = std::function<void(uint32_t events)>;
  using TimerId = uint64_t;

  static Result<std::unique_ptr<EventLoop>> Create();
  ~EventLoop();

  // `fd` stays the caller's, who calls Unwatch before closing it. Watching twice is an error.
  Result<> Watch(BorrowedFd fd, uint32_t events, Callback callback);
  // Changes the events of a watched descriptor; 0 pauses it (hang-ups are still reported).
  Result<> SetEvents(BorrowedFd fd, uint32_t events);
  void Unwatch(BorrowedFd fd);

  // Runs `callback` once, not before `delay` is over.
  TimerId After(std::chrono::nanoseconds delay, std::function<void()> callback);
  void CancelTimer(TimerId id);

  // Any thread: runs `function` in the loop's thread soon.
  void Post(std::function<void()> function);
  // Any thread: Run() returns after the current round.
  void Stop();

  // Until Stop().
  Result<> Run();
  // One round: waits at most `timeout` (negative: for ever) and runs what is ready.
  Result<> RunOnce(std::chrono::milliseconds timeout);

 private:
  struct Watcher {
    uint64_t generation;
    std::shared_ptr<Callback> callback;
  };
  using TimerKey = std::pair<SteadyClock::time_point, TimerId>;

  EventLoop(UniqueFd epoll, UniqueFd wake);
  void RunPosted();
  void RunTimers();
  int TimeoutUntilTimer(std::chrono::milliseconds timeout) const;

  UniqueFd epoll_;
  UniqueFd wake_;
  // A descriptor number can be closed and reused while its old event waits in the same round, so
  // each event carries the watcher's generation.
  uint64_t next_generation_ = 1;
  std::unordered_map<int, Watcher> watchers_;
  TimerId next_timer_ = 1;
  std::map<TimerKey, std::function<void()>> timers_;
  std::unordered_map<TimerId, SteadyClock::time_point> timer_times_;

  Mutex mutex_;
  std::vector<std::function<void()>> posted_ GUARDED_BY(mutex_);
  bool stop_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry
