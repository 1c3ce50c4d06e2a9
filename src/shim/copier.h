// SPDX-License-Identifier: Apache-2.0
//
// Moves bytes from one descriptor to another inside the loop: splice(2) between pipes, read and
// write else. Reads only what the target takes, so a full fifo holds the container back. The
// loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace gantry::shim {

class Copier {
 public:
  // Both descriptors are made non-blocking. `at_end` runs once, from the loop or from Drain, after
  // the last byte is written or the target is gone; then both descriptors are closed.
  Copier(EventLoop* loop, UniqueFd from, UniqueFd to, std::function<void()> at_end);
  ~Copier();
  Result<> Start();

  bool done() const { return done_; }
  // Waits for the target to take more.
  bool blocked() const { return waiting_ == Waiting::kTarget; }
  // Moves what is there now without waiting.
  void Drain() { Move(); }
  // Ends at once; what was not moved is lost.
  void Close();

 private:
  enum class Waiting { kNothing, kSource, kTarget };
  enum class Step { kMoved, kSourceEmpty, kTargetFull, kEnd };
  void Move();
  Step MoveSome();
  Step ReadAndWrite();
  Step FlushBuffer();
  void Wait(Waiting what);
  void End();

  EventLoop* loop_;
  UniqueFd from_;
  UniqueFd to_;
  std::function<void()> at_end_;
  std::string buffer_;  // read and not written yet; only without splice
  Waiting waiting_ = Waiting::kNothing;
  bool splice_ = true;
  bool always_ready_ = false;  // the target is a plain file, which epoll refuses
  bool done_ = false;
};

Result<> SetNonBlocking(BorrowedFd fd);

}  // namespace gantry::shim
