// SPDX-License-Identifier: Apache-2.0
#include "buildkit/stdio_relay.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/clock.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {
namespace {

// What may wait for one side.
constexpr size_t kMostWaiting = size_t{256} << 10;
constexpr size_t kPieceOfRelay = size_t{64} << 10;

// What the socket takes now. False: it is broken, nothing more can go there.
bool SendSome(BorrowedFd socket, std::string* waiting) {
  while (!waiting->empty()) {
    ssize_t sent =
        ::send(socket.get(), waiting->data(), waiting->size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    waiting->erase(0, static_cast<size_t>(sent));
  }
  return true;
}

// Nothing when there is nothing yet; "" at the end.
std::optional<std::string_view> ReceiveSome(BorrowedFd socket, char* buffer) {
  for (;;) {
    ssize_t size = ::recv(socket.get(), buffer, kPieceOfRelay, MSG_DONTWAIT);
    if (size >= 0) return std::string_view(buffer, static_cast<size_t>(size));
    if (errno == EAGAIN) return std::nullopt;
    // A peer that was killed has ended, too.
    if (errno != EINTR) return std::string_view();
  }
}

}  // namespace

Result<bool> StdioRelay::ReadStreams() {
  char buffer[kPieceOfRelay];
  auto data = ReceiveSome(streams_, buffer);
  if (!data) return true;
  if (data->empty()) return false;
  TRY(frames_.Take(*data, [&](uint8_t stream, std::string_view bytes) -> Result<> {
    if (stream == build::AttachFrames::kStderr) return told_(bytes);
    TRY(check_(bytes));
    to_peer_ += bytes;
    return {};
  }));
  return true;
}

Result<bool> StdioRelay::ReadPeer() {
  char buffer[kPieceOfRelay];
  auto data = ReceiveSome(peer_, buffer);
  if (!data) return true;
  if (data->empty()) return false;
  to_program_ += build::AttachFrames::Make(build::AttachFrames::kStdin, *data);
  return true;
}

Result<StdioRelay::End> StdioRelay::Run(const Ends& ends) {
  std::optional<SteadyClock::time_point> deadline;
  for (;;) {
    if (ends.stop.stop_requested()) {
      return MakeError(ErrorKind::kCancelled, "the build was cancelled");
    }
    if (!deadline && ends.last.stop_requested()) deadline = SteadyClock::now() + ends.bound;
    int timeout = -1;
    if (deadline) {
      auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - SteadyClock::now());
      if (left.count() <= 0) return End::kLate;
      timeout = static_cast<int>(left.count());
    }
    auto events = [](bool reads, bool writes) {
      return static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
    };
    pollfd fds[] = {
        {streams_.get(), events(to_peer_.size() < kMostWaiting, !to_program_.empty()), 0},
        {peer_.get(), events(to_program_.size() < kMostWaiting, !to_peer_.empty()), 0},
        {ends.stop.fd().get(), POLLIN, 0},
        {deadline ? -1 : ends.last.fd().get(), POLLIN, 0}};
    {
      wire::WorkerPool::Blocked blocked;
      if (::poll(fds, std::size(fds), timeout) < 0 && errno != EINTR) return ErrnoError("poll");
    }
    constexpr short kReadable = POLLIN | POLLHUP | POLLERR;
    if ((fds[0].revents & kReadable) != 0 && !TRY(ReadStreams())) return End::kOutput;
    if ((fds[1].revents & kReadable) != 0 && !TRY(ReadPeer())) return End::kPeer;
    if (!SendSome(peer_, &to_peer_)) return End::kPeer;
    // A program that reads no more may still write.
    if (!SendSome(streams_, &to_program_)) to_program_.clear();
  }
}

}  // namespace gantry::buildkit
