// SPDX-License-Identifier: Apache-2.0
//
// Blocking writes on sockets that are non-blocking: poll(2) in between. Any thread, one a socket.
#pragma once

#include <chrono>
#include <initializer_list>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::wire {

// poll(2) for a client, which may take its time: the worker does not count meanwhile, unless too
// many wait (WorkerPool::Blocked); then the client gets a moment only. kDeadlineExceeded after
// that.
Result<> WaitForClient(BorrowedFd socket, short events, std::chrono::milliseconds bound);
// All of it; kUnavailable when the peer is gone or takes nothing for ten minutes.
Result<> SendAll(BorrowedFd socket, std::string_view data);
// Several pieces as one.
Result<> SendAll(BorrowedFd socket, std::initializer_list<std::string_view> pieces);

// Ends an answer that the client may not have read yet while it is still sending: closing now would
// reset the connection and take the answer with it. Says that nothing more comes, then drops what
// the client sends until it ends, is silent for 2 s, or 30 s are over.
void LingerBeforeClose(BorrowedFd socket);

// The same for a loop, which may not wait: it drops what comes whenever the socket can be read, and
// closes after kLingerSilence at the latest.
inline constexpr std::chrono::seconds kLingerSilence{2};
class Leftovers {
 public:
  // Says that nothing more comes.
  explicit Leftovers(BorrowedFd socket);
  // One piece. False when the client has ended too, or sends more than a client would that has not
  // yet read the answer: time to close.
  bool Drop(BorrowedFd socket);

 private:
  size_t left_ = size_t{1} << 20;
};

}  // namespace gantry::wire
