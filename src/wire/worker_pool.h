// SPDX-License-Identifier: Apache-2.0
//
// Threads for work that computes: cached, started when all others are busy, up to a limit; then the
// work waits in a queue. The server's requests and the engine's background work run here. Any
// thread may call Run.
//
// Work that waits for somebody outside (a client that does not read, a program that does not end)
// says so by a Blocked and is not counted then: those who wait can't keep others from working.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>

#include "base/mutex.h"

namespace gantry::wire {

class WorkerPool {
 public:
  explicit WorkerPool(size_t limit);
  // Runs what is queued, then waits for the threads.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void Run(std::function<void()> work);
  // Waits until nothing is queued and nothing runs, at most so long; whether that came.
  bool Drain(std::chrono::milliseconds bound);
  // Whether a thread beside the caller waits for work.
  bool HasIdle();

  // While it lives, the calling thread waits for somebody outside. Does nothing in a thread that is
  // no pool's.
  class Blocked {
   public:
    Blocked();
    ~Blocked();
    Blocked(const Blocked&) = delete;
    Blocked& operator=(const Blocked&) = delete;
    // Too many wait already: this one counts as work, so it must not wait for long.
    bool crowded() const { return crowded_; }

   private:
    WorkerPool* pool_;
    bool crowded_ = false;
  };
  static constexpr size_t kMaxBlocked = 2048;

  // Runs `work` beside the caller, who must take the value of the future: it refers to the caller's
  // variables.
  template <typename F>
  auto Async(F work) -> std::future<decltype(work())> {
    auto task = std::make_shared<std::packaged_task<decltype(work())()>>(std::move(work));
    auto future = task->get_future();
    Run([task] { (*task)(); });
    return future;
  }

 private:
  void Loop();
  void StartThread() REQUIRES(mutex_);

  const size_t limit_;
  Mutex mutex_;
  CondVar wake_;
  CondVar empty_;  // a thread has ended or has nothing to do
  std::deque<std::function<void()>> queue_ GUARDED_BY(mutex_);
  size_t threads_ GUARDED_BY(mutex_) = 0;
  size_t idle_ GUARDED_BY(mutex_) = 0;
  size_t blocked_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::wire
