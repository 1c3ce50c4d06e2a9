// SPDX-License-Identifier: Apache-2.0
//
// What the connections of both protocols have in common: two ends with a stream from each to the
// other, watched for what the streams wait for. A stream has WantsRead() and WantsWrite(), of the
// end it comes from and the end it goes to. All in the loop's thread.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <functional>
#include <utility>

#include "portproxy/accepting_listener.h"

namespace gantry::portproxy {

template <typename Stream>
class StreamPair : public Connection {
 public:
  StreamPair(EventLoop* loop, UniqueFd client, UniqueFd target, std::function<void()> on_end)
      : ends_{std::move(client), std::move(target)}, loop_(loop), on_end_(std::move(on_end)) {}
  ~StreamPair() override {
    for (UniqueFd& end : ends_) loop_->Unwatch(end);
  }

 protected:
  // What an end reports. May destroy *this.
  virtual void OnEvent(size_t side, uint32_t events) = 0;

  // As Connection::Start.
  Result<bool> Connect(const SocketAddress& target) {
    if (!BeginConnect(ends_[1], target)) return false;
    // Its first writability, or error, says how that went.
    TRY(Want(1, EPOLLOUT));
    return true;
  }

  // How the connecting went that the target has just reported; an error number.
  int ConnectError() const {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(ends_[1].get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
    return error;
  }

  // Destroys *this, and with it the function it calls.
  void End() {
    auto on_end = std::move(on_end_);
    on_end();
  }

  bool UpdateEvents() {
    for (size_t side = 0; side < 2; ++side) {
      uint32_t wanted = (streams_[side].WantsRead() ? EPOLLIN : 0u) |
                        (streams_[1 - side].WantsWrite() ? EPOLLOUT : 0u);
      if (!Want(side, wanted).ok()) return false;
    }
    return true;
  }

  std::array<UniqueFd, 2> ends_;   // client, target
  std::array<Stream, 2> streams_;  // [0]: client to target
  bool connected_ = false;

 private:
  // A side that wants nothing is not watched at all: epoll reports hang-ups whatever was asked for,
  // and the loop would spin on them.
  Result<> Want(size_t side, uint32_t wanted) {
    uint32_t before = std::exchange(events_[side], wanted);
    if (wanted == before) return {};
    if (before == 0) {
      return loop_->Watch(ends_[side], wanted,
                          [this, side](uint32_t events) { OnEvent(side, events); });
    }
    if (wanted != 0) return loop_->SetEvents(ends_[side], wanted);
    loop_->Unwatch(ends_[side]);
    return {};
  }

  EventLoop* loop_;
  std::array<uint32_t, 2> events_{};
  std::function<void()> on_end_;
};

}  // namespace gantry::portproxy
