// SPDX-License-Identifier: Apache-2.0
//
// A connection is two streams; each copies small messages, and moves more with splice(2) through a
// pipe that it holds only while bytes are under way, so that an idle connection costs two
// descriptors:
//
//   client ──splice──> pipe ──splice──> target        (and the same the other way)
//
// A stream reads only when its pipe is empty and waits for room only when it is not, so a slow
// reader slows its writer down. The end of one direction is passed on by shutdown(2); the
// connection ends when both have ended or one fails.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "portproxy/stream_pair.h"

namespace gantry::portproxy {
namespace {

constexpr size_t kPipeBytes = size_t{256} << 10;
constexpr size_t kSmallBytes = size_t{16} << 10;
constexpr size_t kSparePipes = 16;
// Per wake-up, so that one busy connection doesn't starve the others.
constexpr int kTcpRoundsPerEvent = 16;

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

// The process's spare pipes: making one costs three system calls.
std::vector<Pipe>& SparePipes() {
  static std::vector<Pipe> pipes;
  return pipes;
}

Result<Pipe> TakePipe() {
  auto& spare = SparePipes();
  if (!spare.empty()) {
    Pipe pipe = std::move(spare.back());
    spare.pop_back();
    return pipe;
  }
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) return ErrnoError("making a pipe");
  Pipe pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
  // Beyond the user's quota the pipe stays at 64 KiB: slower, not wrong.
  (void)::fcntl(fds[0], F_SETPIPE_SZ, static_cast<int>(kPipeBytes));
  return pipe;
}

void GivePipeBack(Pipe pipe) {
  if (pipe.reader.valid() && SparePipes().size() < kSparePipes) {
    SparePipes().push_back(std::move(pipe));
  }
}

// One direction.
struct Stream {
  enum class State { kOpen, kEnding, kEnded };  // kEnding: end seen, bytes still in the pipe

  State state = State::kOpen;
  Pipe pipe;
  size_t in_pipe = 0;

  // Moves what there is. False when the connection is broken. After a small piece it doesn't ask
  // for more: the loop would tell, and an exchange of small messages so costs two calls each way.
  bool Pump(BorrowedFd from, BorrowedFd to) {
    for (int round = 0; round < kTcpRoundsPerEvent && state != State::kEnded; ++round) {
      if (in_pipe == 0 && state == State::kOpen) {
        if (round > 0 && last_fill_ < kSmallBytes) return true;
        int filled = last_fill_ < kSmallBytes ? MoveSmall(from, to) : Fill(from);
        if (filled < 0) return false;
        if (filled == 0) return true;
      }
      if (in_pipe > 0) {
        ssize_t moved = ::splice(pipe.reader.get(), nullptr, to.get(), nullptr, in_pipe,
                                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (moved < 0) return errno == EAGAIN || errno == EINTR;
        in_pipe -= static_cast<size_t>(moved);
        if (in_pipe == 0) GivePipeBack(std::move(pipe));
      }
      if (in_pipe == 0 && state == State::kEnding) {
        state = State::kEnded;
        // ENOTCONN: the other side has gone already; its own stream notices.
        (void)::shutdown(to.get(), SHUT_WR);
      }
    }
    return true;
  }

  // Small messages are cheaper copied than spliced. What the other side doesn't take waits in a
  // pipe. 1: bytes were moved, or the end was seen; 0: nothing now; -1: broken.
  int MoveSmall(BorrowedFd from, BorrowedFd to) {
    static char buffer[kSmallBytes];  // one for the process: nothing stays in it
    ssize_t size = ::recv(from.get(), buffer, sizeof buffer, 0);
    if (size < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (size == 0) {
      state = State::kEnding;
      return 1;
    }
    last_fill_ = static_cast<size_t>(size);
    ssize_t sent = ::send(to.get(), buffer, last_fill_, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return -1;
    size_t done = sent < 0 ? 0 : static_cast<size_t>(sent);
    if (done == last_fill_) return 1;
    auto taken = TakePipe();
    if (!taken.ok()) return -1;
    pipe = std::move(taken).value();
    in_pipe = last_fill_ - done;
    // It fits: a pipe of root is never smaller than 64 KiB.
    ssize_t kept = ::write(pipe.writer.get(), buffer + done, in_pipe);
    return kept == static_cast<ssize_t>(in_pipe) ? 1 : -1;
  }

  // The same by splice.
  int Fill(BorrowedFd from) {
    if (!pipe.reader.valid()) {
      auto taken = TakePipe();
      if (!taken.ok()) return -1;
      pipe = std::move(taken).value();
    }
    ssize_t moved = ::splice(from.get(), nullptr, pipe.writer.get(), nullptr, kPipeBytes,
                             SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved > 0) {
      in_pipe = last_fill_ = static_cast<size_t>(moved);
      return 1;
    }
    int error = errno;
    GivePipeBack(std::move(pipe));
    if (moved == 0) {
      state = State::kEnding;
      return 1;
    }
    return error == EAGAIN || error == EINTR ? 0 : -1;
  }

  bool WantsRead() const { return state == State::kOpen && in_pipe == 0; }
  bool WantsWrite() const { return in_pipe > 0; }

 private:
  size_t last_fill_ = 0;
};

class TcpConnection : public StreamPair<Stream> {
 public:
  using StreamPair::StreamPair;

  Result<bool> Start(const SocketAddress& target) override {
    int one = 1;
    // The ends decide about delaying small segments, not the relay.
    for (const UniqueFd& end : ends_) {
      (void)::setsockopt(end.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return Connect(target);
  }

 private:
  void OnEvent(size_t side, uint32_t events) override {
    bool all = !connected_ || (events & (EPOLLERR | EPOLLHUP)) != 0;
    if (!connected_ && !FinishConnect(events)) return;
    bool alive = true;
    if (all || (events & EPOLLIN) != 0) alive = Pump(side);
    if (alive && (all || (events & EPOLLOUT) != 0)) alive = Pump(1 - side);
    bool ended =
        streams_[0].state == Stream::State::kEnded && streams_[1].state == Stream::State::kEnded;
    if (!alive || ended || !UpdateEvents()) End();
  }

  // The stream that comes from this side.
  bool Pump(size_t side) { return streams_[side].Pump(ends_[side], ends_[1 - side]); }

  // False when there is nothing to pump; the connection may be gone then.
  bool FinishConnect(uint32_t events) {
    int error = ConnectError();
    tcp_info info{};
    socklen_t info_size = sizeof info;
    bool established =
        ::getsockopt(ends_[1].get(), IPPROTO_TCP, TCP_INFO, &info, &info_size) == 0 &&
        info.tcpi_state != TCP_SYN_SENT && info.tcpi_state != TCP_CLOSE;
    if (error != 0 || (!established && (events & (EPOLLERR | EPOLLHUP)) != 0)) {
      EndByReset(ends_[0]);
      End();
      return false;
    }
    connected_ = established;
    return established;
  }
};

}  // namespace

std::unique_ptr<Connection> MakeTcpConnection(EventLoop* loop, UniqueFd client, UniqueFd target,
                                              std::function<void()> on_end) {
  return std::make_unique<TcpConnection>(loop, std::move(client), std::move(target),
                                         std::move(on_end));
}

}  // namespace gantry::portproxy
