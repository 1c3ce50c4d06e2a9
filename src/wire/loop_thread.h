// SPDX-License-Identifier: Apache-2.0
//
// A thread that runs an EventLoop until it is destroyed. Any thread may use loop().Post(); the
// loop's other calls belong to functions that run in the thread.
#pragma once

#include <memory>
#include <thread>
#include <utility>

#include "base/event_loop.h"
#include "base/log.h"

namespace gantry::wire {

class LoopThread {
 public:
  static Result<std::unique_ptr<LoopThread>> Start() {
    return std::unique_ptr<LoopThread>(new LoopThread(TRY(EventLoop::Create())));
  }
  ~LoopThread() { End(); }
  // Waits for what runs in the thread, which may use loop() to its last moment.
  void End() {
    if (!thread_.joinable()) return;
    loop_->Stop();
    thread_.join();
  }
  EventLoop& loop() { return *loop_; }

 private:
  explicit LoopThread(std::unique_ptr<EventLoop> loop)
      : loop_(std::move(loop)), thread_([this] {
          Result<> ended = loop_->Run();
          if (!ended.ok()) log::Failure("event loop ended: {}", ended.error().message());
        }) {}

  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace gantry::wire
