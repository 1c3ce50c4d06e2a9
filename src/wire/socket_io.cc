// SPDX-License-Identifier: Apache-2.0
#include "wire/socket_io.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "base/clock.h"
#include "base/stop_token.h"
#include "wire/worker_pool.h"

namespace gantry::wire {
namespace {

constexpr std::chrono::minutes kSendTimeout{10};
// Where too many clients are slow.
constexpr std::chrono::milliseconds kCrowdedTimeout{50};
constexpr std::chrono::seconds kLingerTotal{30};
constexpr size_t kDropAtOnce = size_t{64} << 10;

Result<> SendVector(BorrowedFd socket, iovec* pieces, size_t count) {
  while (count > 0) {
    if (pieces->iov_len == 0) {
      ++pieces;
      --count;
      continue;
    }
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    ssize_t sent = ::sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        TRY_WITH(WaitForClient(socket, POLLOUT, kSendTimeout), "sending to a client");
        continue;
      }
      return Unavailable("sending to a client: it has hung up");
    }
    size_t left = static_cast<size_t>(sent);
    while (count > 0 && left >= pieces->iov_len) {
      left -= pieces->iov_len;
      ++pieces;
      --count;
    }
    if (count > 0) {
      pieces->iov_base = static_cast<char*>(pieces->iov_base) + left;
      pieces->iov_len -= left;
    }
  }
  return {};
}

}  // namespace

Result<> WaitForClient(BorrowedFd socket, short events, std::chrono::milliseconds bound) {
  WorkerPool::Blocked blocked;
  return WaitFor(socket, events, blocked.crowded() ? std::min(bound, kCrowdedTimeout) : bound);
}

Result<> SendAll(BorrowedFd socket, std::string_view data) {
  iovec piece{const_cast<char*>(data.data()), data.size()};
  return SendVector(socket, &piece, 1);
}

Result<> SendAll(BorrowedFd socket, std::initializer_list<std::string_view> pieces) {
  std::array<iovec, 8> vector;
  CHECK(pieces.size() <= vector.size());
  size_t count = 0;
  for (std::string_view piece : pieces) {
    vector[count++] = {const_cast<char*>(piece.data()), piece.size()};
  }
  return SendVector(socket, vector.data(), count);
}

void LingerBeforeClose(BorrowedFd socket) {
  if (::shutdown(socket.get(), SHUT_WR) < 0) return;
  auto deadline = SteadyClock::now() + kLingerTotal;
  std::array<char, kDropAtOnce> dropped;
  while (SteadyClock::now() < deadline) {
    if (!WaitForClient(socket, POLLIN, kLingerSilence).ok()) return;
    ssize_t got = ::recv(socket.get(), dropped.data(), dropped.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

Leftovers::Leftovers(BorrowedFd socket) { (void)::shutdown(socket.get(), SHUT_WR); }

bool Leftovers::Drop(BorrowedFd socket) {
  std::array<char, kDropAtOnce> dropped;
  ssize_t got = ::recv(socket.get(), dropped.data(), dropped.size(), MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  left_ -= std::min(left_, static_cast<size_t>(got));
  return got > 0 && left_ > 0;
}

}  // namespace gantry::wire
