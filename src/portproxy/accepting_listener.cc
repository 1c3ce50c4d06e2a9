// SPDX-License-Identifier: Apache-2.0
#include "portproxy/accepting_listener.h"

#include <list>

#include "base/log.h"

namespace gantry::portproxy {
namespace {

// Per wake-up, so that one busy listener doesn't starve the others.
constexpr int kAcceptsPerEvent = 16;
// How long a listener rests when the process is out of descriptors.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

class AcceptingListener : public Listener {
 public:
  AcceptingListener(EventLoop* loop, Transport transport, UniqueFd socket,
                    const SocketAddress& target)
      : loop_(loop), transport_(transport), socket_(std::move(socket)), target_(target) {}
  ~AcceptingListener() override {
    loop_->Unwatch(socket_);
    if (pause_ != 0) loop_->CancelTimer(pause_);
  }

  Result<> Start() {
    return loop_->Watch(socket_, EPOLLIN, [this](uint32_t) { Accept(); });
  }

 private:
  void Accept() {
    for (int round = 0; round < kAcceptsPerEvent; ++round) {
      UniqueFd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client.valid()) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
        return Pause(ErrnoError("accepting a connection"));
      }
      auto started = StartConnection(std::move(client));
      if (!started.ok()) return Pause(started.error());
    }
  }

  Result<> StartConnection(UniqueFd client) {
    UniqueFd target = TRY(OpenSocket(transport_, target_.storage.ss_family));
    MakeConnection make = transport_ == Transport::kSctp ? MakeSctpConnection : MakeTcpConnection;
    auto place = connections_.emplace(connections_.end());
    *place = make(loop_, std::move(client), std::move(target),
                  [this, place] { connections_.erase(place); });
    auto started = (*place)->Start(target_);
    if (started.ok() && *started) return {};
    connections_.erase(place);
    // A container that is not there is not the listener's failure.
    if (started.ok()) return {};
    return std::move(started).error();
  }

  // Out of descriptors or memory: a level-triggered listener would spin.
  void Pause(const Error& error) {
    log::Warning("{}; pausing the listener", error.message());
    if (!loop_->SetEvents(socket_, 0).ok()) return;
    pause_ = loop_->After(kAcceptPause, [this] {
      pause_ = 0;
      auto resumed = loop_->SetEvents(socket_, EPOLLIN);
      if (!resumed.ok()) log::Failure("{}", resumed.error().message());
    });
  }

  EventLoop* loop_;
  Transport transport_;
  UniqueFd socket_;
  SocketAddress target_;
  EventLoop::TimerId pause_ = 0;
  std::list<std::unique_ptr<Connection>> connections_;
};

}  // namespace

bool BeginConnect(BorrowedFd socket, const SocketAddress& target) {
  return ::connect(socket.get(), target.get(), target.size) == 0 || errno == EINPROGRESS;
}

void EndByReset(BorrowedFd socket) {
  linger reset{1, 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

Result<std::unique_ptr<Listener>> MakeAcceptingListener(EventLoop* loop, Transport transport,
                                                        UniqueFd socket,
                                                        const SocketAddress& target) {
  auto listener = std::make_unique<AcceptingListener>(loop, transport, std::move(socket), target);
  TRY(listener->Start());
  return std::unique_ptr<Listener>(std::move(listener));
}

}  // namespace gantry::portproxy
