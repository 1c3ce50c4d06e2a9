// SPDX-License-Identifier: Apache-2.0
#include "wire/relay.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/log.h"

namespace gantry::wire {
namespace {

constexpr size_t kPiece = size_t{64} << 10;
constexpr int kPipeBytes = 256 << 10;
constexpr size_t kFrameHead = 8;
constexpr std::chrono::seconds kHeadBound{1};

void AppendFrame(std::string_view data, std::string* out) {
  char head[kFrameHead] = {};
  uint32_t size = static_cast<uint32_t>(data.size());
  for (int i = 0; i < 4; ++i) head[4 + i] = static_cast<char>(size >> (24 - 8 * i));
  out->append(head, sizeof head);
  out->append(data);
}

// Sends what the socket takes of data[*sent…]; false when the peer is gone.
bool SendSome(BorrowedFd socket, std::string* data, size_t* sent) {
  while (*sent < data->size()) {
    ssize_t count = ::send(socket.get(), data->data() + *sent, data->size() - *sent,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      *sent += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      return false;
    }
  }
  data->clear();
  *sent = 0;
  return true;
}

}  // namespace

std::shared_ptr<Relay> Relay::Start(EventLoop& loop, RelayOptions options) {
  std::shared_ptr<Relay> relay(new Relay(loop, std::move(options)));
  loop.Post([relay] { relay->Begin(); });
  return relay;
}

Relay::Relay(EventLoop& loop, RelayOptions options) : loop_(loop), options_(std::move(options)) {}
Relay::~Relay() = default;

void Relay::Connect(UniqueFd process) {
  auto shared = std::make_shared<UniqueFd>(std::move(process));
  loop_.Post([self = shared_from_this(), shared] { self->Join(std::move(*shared)); });
}

void Relay::Close() {
  loop_.Post([self = shared_from_this()] { self->End(RelayEnd::kProcess); });
}

void Relay::Begin() {
  Result<> watching = loop_.Watch(
      options_.client, 0, [self = shared_from_this()](uint32_t events) { self->OnClient(events); });
  if (!watching.ok()) {
    log::Warning("relay: {}", watching.error().message());
    End(RelayEnd::kClient);
  }
}

void Relay::Join(UniqueFd process) {
  if (ended_) return;
  process_ = std::move(process);
  if (options_.form == RelayForm::kFrames) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
      log::Warning("relay: {}", ErrnoError("making a pipe").message());
      return End(RelayEnd::kProcess);
    }
    pipe_read_.Reset(ends[0]);
    pipe_write_.Reset(ends[1]);
    // A larger pipe means fewer wake-ups; the default is good enough when the limit is reached.
    (void)::fcntl(pipe_write_.get(), F_SETPIPE_SZ, kPipeBytes);
  }
  if (!TakeInput(std::exchange(options_.received, {}))) return End(RelayEnd::kDetached);
  waits_for_head_ = true;
  if (!HeadIsRead()) {
    loop_.After(kHeadBound, [self = shared_from_this()] {
      if (self->ended_ || !self->waits_for_head_) return;
      self->waits_for_head_ = false;
      self->OnProcess(EPOLLIN);
    });
  }
  OnProcess(EPOLLIN);
}

void Relay::OnClient(uint32_t events) {
  if (events & (EPOLLERR | EPOLLHUP)) return End(RelayEnd::kClient);
  if ((events & EPOLLOUT) && !MoveOutput()) return;
  if (!ended_ && (events & EPOLLIN) && !client_ended_) {
    std::array<char, kPiece> buffer;
    ssize_t count = ::recv(options_.client.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count > 0) {
      if (!TakeInput({buffer.data(), static_cast<size_t>(count)})) return End(RelayEnd::kDetached);
    } else if (count == 0) {
      client_ended_ = true;
      if (options_.wants_stdin) AppendFrame({}, &input_);
    } else if (errno != EAGAIN && errno != EINTR) {
      return End(RelayEnd::kClient);
    }
    if (!MoveInput()) return;
  }
  UpdateWatches();
}

void Relay::OnProcess(uint32_t events) {
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    if (!MoveOutput()) return;
  }
  if (!MoveInput()) return;
  UpdateWatches();
}

bool Relay::TakeInput(std::string_view data) {
  if (!options_.wants_stdin || data.empty()) return true;
  const std::string& keys = options_.detach_keys;
  if (keys.empty()) {
    AppendFrame(data, &input_);
    return true;
  }
  std::string passed;
  bool complete = false;
  for (char byte : data) {
    if (byte == keys[keys_matched_]) {
      if (++keys_matched_ < keys.size()) continue;
      complete = true;
      break;
    }
    passed.append(keys, 0, std::exchange(keys_matched_, 0));
    if (byte == keys[0]) {
      keys_matched_ = 1;
    } else {
      passed.push_back(byte);
    }
  }
  if (!passed.empty()) AppendFrame(passed, &input_);
  if (complete) (void)MoveInput();
  return !complete;
}

bool Relay::MoveInput() {
  if (!process_.valid() || process_ended_) return true;
  if (SendSome(process_, &input_, &input_sent_)) return true;
  // The process takes no more input; its output may go on.
  input_.clear();
  input_sent_ = 0;
  options_.wants_stdin = false;
  return true;
}

// Clients that take the connection over with a library (docker-py) lose what comes in one read with
// the answer's head: output waits until the head has been read, but not for ever.
bool Relay::HeadIsRead() {
  int unread = 0;
  if (waits_for_head_ && ::ioctl(options_.client.get(), SIOCOUTQ, &unread) == 0 && unread > 0) {
    return false;
  }
  waits_for_head_ = false;
  return true;
}

bool Relay::MoveOutput() {
  if (!HeadIsRead()) return true;
  bool more = options_.form == RelayForm::kFrames ? MoveOutputFrames() : MoveOutputRaw();
  return more && !ended_;
}

bool Relay::MoveOutputFrames() {
  output_blocked_ = false;
  for (int round = 0; round < 16; ++round) {
    while (in_pipe_ > 0) {
      ssize_t count = ::splice(pipe_read_.get(), nullptr, options_.client.get(), nullptr, in_pipe_,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (count > 0) {
        in_pipe_ -= static_cast<size_t>(count);
      } else if (count < 0 && errno == EAGAIN) {
        output_blocked_ = true;
        return true;
      } else if (count < 0 && errno == EINTR) {
        continue;
      } else {
        End(RelayEnd::kClient);
        return false;
      }
    }
    if (process_ended_) {
      End(RelayEnd::kProcess);
      return false;
    }
    ssize_t count = ::splice(process_.get(), nullptr, pipe_write_.get(), nullptr, kPipeBytes,
                             SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count > 0) {
      in_pipe_ += static_cast<size_t>(count);
    } else if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
      return true;
    } else {
      process_ended_ = true;
    }
  }
  // Others want their turn; the client, which can be written to, calls again at once.
  output_blocked_ = true;
  return true;
}

bool Relay::MoveOutputRaw() {
  output_blocked_ = false;
  for (int round = 0; round < 16; ++round) {
    if (!SendSome(options_.client, &output_, &output_sent_)) {
      End(RelayEnd::kClient);
      return false;
    }
    if (!output_.empty()) {
      output_blocked_ = true;
      return true;
    }
    if (process_ended_) {
      End(RelayEnd::kProcess);
      return false;
    }
    std::array<char, kPiece> buffer;
    ssize_t count = ::recv(process_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (count <= 0) {
      process_ended_ = true;
      continue;
    }
    std::string_view data(buffer.data(), static_cast<size_t>(count));
    while (!data.empty()) {
      if (frame_left_ > 0) {
        size_t take = std::min(frame_left_, data.size());
        output_.append(data.substr(0, take));
        frame_left_ -= take;
        data.remove_prefix(take);
        continue;
      }
      size_t take = std::min(kFrameHead - frame_rest_.size(), data.size());
      frame_rest_.append(data.substr(0, take));
      data.remove_prefix(take);
      if (frame_rest_.size() < kFrameHead) break;
      for (int i = 4; i < 8; ++i) {
        frame_left_ = (frame_left_ << 8) | static_cast<unsigned char>(frame_rest_[i]);
      }
      frame_rest_.clear();
    }
  }
  output_blocked_ = true;
  return true;
}

void Relay::UpdateWatches() {
  if (ended_ || !process_.valid()) return;
  if (waits_for_head_) {
    // A socket can always be written to here; its edges tell that the peer has read. Set once: to
    // set it again would be an edge of its own.
    if (!std::exchange(edges_watched_, true)) {
      (void)loop_.SetEvents(options_.client, EPOLLIN | EPOLLOUT | EPOLLET);
    }
    return;
  }
  // Backpressure both ways: a side is read only when the other has taken what was read before.
  uint32_t client = 0;
  if (!client_ended_ && input_.empty()) client |= EPOLLIN;
  if (output_blocked_) client |= EPOLLOUT;
  (void)loop_.SetEvents(options_.client, client);

  uint32_t process = 0;
  if (!output_blocked_ && !process_ended_) process |= EPOLLIN;
  if (!input_.empty()) process |= EPOLLOUT;
  if (process == 0) {
    // A watch without events would still report the hang-up, again and again.
    if (process_watched_) loop_.Unwatch(process_);
    process_watched_ = false;
  } else if (process_watched_) {
    (void)loop_.SetEvents(process_, process);
  } else {
    Result<> watching = loop_.Watch(
        process_, process, [self = shared_from_this()](uint32_t seen) { self->OnProcess(seen); });
    if (!watching.ok()) return End(RelayEnd::kProcess);
    process_watched_ = true;
  }
}

void Relay::End(RelayEnd how) {
  if (std::exchange(ended_, true)) return;
  loop_.Unwatch(options_.client);
  if (process_watched_) loop_.Unwatch(process_);
  process_watched_ = false;
  process_.Reset();
  pipe_read_.Reset();
  pipe_write_.Reset();
  UniqueFd client = std::move(options_.client);
  if (auto ended = std::move(options_.ended)) ended(how, std::move(client));
}

}  // namespace gantry::wire
