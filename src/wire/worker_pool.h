// SPDX-License-Identifier: Apache-2.0
//
// Threads for work that computes: cached, started when all others are busy, up to a limit; then the
// work waits in a queue. The server's requests and the engine's background work run here. Any
// thread may call Run.
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

  const size_t limit_;
  Mutex mutex_;
  CondVar wake_;
  CondVar empty_;  // a thread has ended or has nothing to do
  std::deque<std::function<void()>> queue_ GUARDED_BY(mutex_);
  size_t threads_ GUARDED_BY(mutex_) = 0;
  size_t idle_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::wire
