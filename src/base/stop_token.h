// SPDX-License-Identifier: Apache-2.0
//
// Asking waits to end. A StopSource owns an event descriptor that becomes readable for good once
// RequestStop() was called; a StopToken can be polled beside other descriptors. Any thread.
#pragma once

#include <chrono>
#include <memory>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry {

class StopToken {
 public:
  StopToken() = default;  // never stops
  bool stop_requested() const;
  // Readable once a stop was requested; invalid for a token that never stops.
  BorrowedFd fd() const { return fd_ ? BorrowedFd(*fd_) : BorrowedFd(); }

 private:
  friend class StopSource;
  explicit StopToken(std::shared_ptr<UniqueFd> fd) : fd_(std::move(fd)) {}
  std::shared_ptr<UniqueFd> fd_;
};

class StopSource {
 public:
  static Result<StopSource> Create();
  void RequestStop();
  StopToken token() const { return StopToken(fd_); }

 private:
  explicit StopSource(std::shared_ptr<UniqueFd> fd) : fd_(std::move(fd)) {}
  std::shared_ptr<UniqueFd> fd_;
};

// Waits until `fd` has one of `events` (poll(2)). kDeadlineExceeded when `timeout` is up,
// kCancelled when the token stops.
Result<> WaitFor(BorrowedFd fd, short events, std::chrono::milliseconds timeout,
                 const StopToken& stop = {});

}  // namespace gantry
