// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace gantry {
namespace {

// epoll's 64 bits of user data: the descriptor below, the low bits of its generation above.
uint64_t Pack(int fd, uint64_t generation) {
  return (generation << 32) | static_cast<uint32_t>(fd);
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return ErrnoError("making an epoll instance");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoError("making a wake-up event");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = Pack(wake.get(), 0);
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) < 0) {
    return ErrnoError("watching the wake-up event");
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

EventLoop::EventLoop(UniqueFd epoll, UniqueFd wake)
    : epoll_(std::move(epoll)), wake_(std::move(wake)) {}

EventLoop::~EventLoop() = default;

Result<> EventLoop::Watch(BorrowedFd fd, uint32_t events, Callback callback) {
  uint64_t generation = next_generation_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = Pack(fd.get(), generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) < 0) {
    return ErrnoError("watching descriptor {}", fd.get());
  }
  watchers_[fd.get()] = Watcher{generation, std::make_shared<Callback>(std::move(callback))};
  return {};
}

Result<> EventLoop::SetEvents(BorrowedFd fd, uint32_t events) {
  auto found = watchers_.find(fd.get());
  CHECK(found != watchers_.end());
  epoll_event event{};
  event.events = events;
  event.data.u64 = Pack(fd.get(), found->second.generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd.get(), &event) < 0) {
    return ErrnoError("changing the watch of descriptor {}", fd.get());
  }
  return {};
}

void EventLoop::Unwatch(BorrowedFd fd) {
  if (watchers_.erase(fd.get()) == 0) return;
  // Fails only for a descriptor that is closed already, which took itself out.
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd.get(), nullptr);
}

EventLoop::TimerId EventLoop::After(std::chrono::nanoseconds delay,
                                    std::function<void()> callback) {
  TimerId id = next_timer_++;
  auto when = SteadyClock::now() + delay;
  timers_.emplace(TimerKey(when, id), std::move(callback));
  timer_times_.emplace(id, when);
  return id;
}

void EventLoop::CancelTimer(TimerId id) {
  auto found = timer_times_.find(id);
  if (found == timer_times_.end()) return;
  timers_.erase(TimerKey(found->second, id));
  timer_times_.erase(found);
}

void EventLoop::Post(std::function<void()> function) {
  {
    MutexLock lock(mutex_);
    posted_.push_back(std::move(function));
  }
  uint64_t one = 1;
  // A full counter is awake already.
  (void)!::write(wake_.get(), &one, sizeof one);
}

void EventLoop::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

Result<> EventLoop::Run() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (stop_) {
        stop_ = false;
        return {};
      }
    }
    TRY(RunOnce(std::chrono::milliseconds(-1)));
  }
}

Result<> EventLoop::RunOnce(std::chrono::milliseconds timeout) {
  std::array<epoll_event, 64> events;
  int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                           TimeoutUntilTimer(timeout));
  if (count < 0) {
    if (errno == EINTR) return {};
    return ErrnoError("waiting for events");
  }
  for (int i = 0; i < count; ++i) {
    int fd = static_cast<int>(static_cast<uint32_t>(events[i].data.u64));
    if (fd == wake_.get()) {
      uint64_t counter = 0;
      (void)!::read(wake_.get(), &counter, sizeof counter);
      continue;
    }
    auto found = watchers_.find(fd);
    if (found == watchers_.end() || Pack(fd, found->second.generation) != events[i].data.u64) {
      continue;
    }
    // Kept alive: the callback may unwatch itself.
    std::shared_ptr<Callback> callback = found->second.callback;
    (*callback)(events[i].events);
  }
  RunPosted();
  RunTimers();
  return {};
}

void EventLoop::RunPosted() {
  std::vector<std::function<void()>> posted;
  {
    MutexLock lock(mutex_);
    posted.swap(posted_);
  }
  for (auto& function : posted) function();
}

void EventLoop::RunTimers() {
  auto now = SteadyClock::now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto node = timers_.extract(timers_.begin());
    timer_times_.erase(node.key().second);
    node.mapped()();
  }
}

int EventLoop::TimeoutUntilTimer(std::chrono::milliseconds timeout) const {
  int64_t wanted = timeout.count() < 0 ? -1 : timeout.count();
  if (!timers_.empty()) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first -
                                                             SteadyClock::now());
    int64_t until = std::max<int64_t>(0, left.count());
    if (wanted < 0 || until < wanted) wanted = until;
  }
  return static_cast<int>(std::min<int64_t>(wanted, 3'600'000));
}

}  // namespace gantry
