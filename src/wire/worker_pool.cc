// SPDX-License-Identifier: Apache-2.0
#include "wire/worker_pool.h"

#include <chrono>
#include <thread>
#include <utility>

namespace gantry::wire {
namespace {

// An idle thread beyond the first few ends after this time.
constexpr std::chrono::seconds kIdleLife{10};
constexpr size_t kKeptThreads = 4;

// Whose thread this is.
thread_local WorkerPool* t_pool = nullptr;
// It is counted as waiting already: a Blocked inside of another adds nothing.
thread_local bool t_blocked = false;

}  // namespace

WorkerPool::WorkerPool(size_t limit) : limit_(limit) {}

WorkerPool::~WorkerPool() {
  MutexLock lock(mutex_);
  stopping_ = true;
  wake_.NotifyAll();
  while (threads_ > 0) empty_.Wait(mutex_);
}

void WorkerPool::Run(std::function<void()> work) {
  MutexLock lock(mutex_);
  queue_.push_back(std::move(work));
  if (idle_ >= queue_.size()) {
    wake_.NotifyOne();
    return;
  }
  StartThread();
}

void WorkerPool::StartThread() {
  if (threads_ - blocked_ >= limit_) return;
  ++threads_;
  std::thread([this] { Loop(); }).detach();
}

WorkerPool::Blocked::Blocked() : pool_(t_blocked ? nullptr : t_pool) {
  if (pool_ == nullptr) return;
  MutexLock lock(pool_->mutex_);
  crowded_ = pool_->blocked_ >= kMaxBlocked;
  if (crowded_) return;
  t_blocked = true;
  ++pool_->blocked_;
  if (pool_->queue_.size() > pool_->idle_) pool_->StartThread();
}

WorkerPool::Blocked::~Blocked() {
  if (pool_ == nullptr || crowded_) return;
  MutexLock lock(pool_->mutex_);
  t_blocked = false;
  --pool_->blocked_;
}

bool WorkerPool::Drain(std::chrono::milliseconds bound) {
  auto deadline = std::chrono::steady_clock::now() + bound;
  MutexLock lock(mutex_);
  while (!queue_.empty() || idle_ < threads_) {
    auto left = deadline - std::chrono::steady_clock::now();
    if (left.count() <= 0) return false;
    (void)empty_.WaitFor(mutex_, left);
  }
  return true;
}

bool WorkerPool::HasIdle() {
  MutexLock lock(mutex_);
  return idle_ > queue_.size();
}

void WorkerPool::Loop() {
  t_pool = this;
  mutex_.Lock();
  for (;;) {
    bool waited_in_vain = false;
    ++idle_;
    if (queue_.empty() && idle_ == threads_) empty_.NotifyAll();
    while (queue_.empty() && !stopping_ && !(waited_in_vain && threads_ > kKeptThreads)) {
      waited_in_vain = !wake_.WaitFor(mutex_, kIdleLife);
    }
    --idle_;
    if (queue_.empty()) break;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    mutex_.Unlock();
    work();
    work = nullptr;
    mutex_.Lock();
  }
  --threads_;
  empty_.NotifyAll();
  mutex_.Unlock();
}

}  // namespace gantry::wire
