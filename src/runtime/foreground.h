// SPDX-License-Identifier: Apache-2.0
//
// A process of ours in the foreground: signals go to it, a terminal is relayed, its exit code is
// ours. For `run` and `exec` without --detach. One thread.
#pragma once

#include <signal.h>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::runtime {

// Blocks the signals that are forwarded; made before the process, so that none is lost.
class SignalForwarder {
 public:
  static Result<SignalForwarder> Create();

  // Until the process has ended: its exit code, 128 + n for a signal. `terminal`: the master of its
  // terminal, or none.
  Result<int> Follow(BorrowedFd pidfd, UniqueFd terminal);

 private:
  explicit SignalForwarder(UniqueFd signals) : signals_(std::move(signals)) {}
  Result<bool> Forward(BorrowedFd pidfd, BorrowedFd terminal);

  UniqueFd signals_;
};

}  // namespace gantry::runtime
