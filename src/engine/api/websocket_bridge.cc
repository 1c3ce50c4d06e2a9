// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "engine/api/websocket.h"

namespace gantry::engine::api {
namespace {

constexpr size_t kBridgePiece = size_t{32} << 10;
// Status 1000, "normal closure" (RFC 6455 section 7.4.1).
constexpr std::string_view kNormalClosure("\x03\xe8", 2);

enum class Received { kSomething, kNothing, kEnd };

Received ReceiveSome(BorrowedFd socket, std::string* out) {
  std::array<char, kBridgePiece> buffer;
  ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count > 0) {
    out->append(buffer.data(), static_cast<size_t>(count));
    return Received::kSomething;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Received::kNothing;
  return Received::kEnd;
}

// Sends what the socket takes; false when the peer is gone.
bool SendSome(BorrowedFd socket, std::string* data) {
  while (!data->empty()) {
    ssize_t count = ::send(socket.get(), data->data(), data->size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN;
    data->erase(0, static_cast<size_t>(count));
  }
  return true;
}

// A side is read only while what it gave before has been taken, so that at most one piece waits in
// each direction.
class Bridge : public std::enable_shared_from_this<Bridge> {
 public:
  Bridge(EventLoop& loop, UniqueFd client, UniqueFd stream)
      : loop_(loop), client_(std::move(client)), stream_(std::move(stream)) {}

  void Begin(const std::string& received) {
    auto on_events = [self = shared_from_this()](uint32_t events) { self->OnEvents(events); };
    Result<> watching = loop_.Watch(client_, EPOLLIN, on_events);
    if (watching.ok()) {
      watching = loop_.Watch(stream_, EPOLLIN, on_events);
      if (!watching.ok()) loop_.Unwatch(client_);
    }
    if (!watching.ok()) {
      ended_ = true;
      return log::Warning("attach/ws: {}", watching.error().message());
    }
    TakeFromClient(received);
    OnEvents(0);
  }

 private:
  void OnEvents(uint32_t) {
    if (ended_) return;
    if (to_stream_.empty() && to_client_.empty() && !client_ended_) {
      std::string bytes;
      Received received = ReceiveSome(client_, &bytes);
      if (received == Received::kEnd) return End();
      TakeFromClient(bytes);
    }
    if (to_client_.empty() && !stream_ended_ && !client_ended_) {
      std::string bytes;
      Received received = ReceiveSome(stream_, &bytes);
      if (!bytes.empty()) to_client_ += EncodeWebSocketFrame(WebSocketOpcode::kBinary, bytes);
      if (received == Received::kEnd) {
        stream_ended_ = true;
        to_client_ += EncodeWebSocketFrame(WebSocketOpcode::kClose, kNormalClosure);
      }
    }
    if (!SendSome(client_, &to_client_)) return End();
    // The process takes no more input; its output may go on.
    if (!SendSome(stream_, &to_stream_)) to_stream_.clear();
    bool all_sent = to_client_.empty() && (to_stream_.empty() || stream_ended_);
    if ((client_ended_ || stream_ended_) && all_sent) return End();
    UpdateWatches();
  }

  void TakeFromClient(const std::string& bytes) {
    Result<> taken = decoder_.Take(bytes);
    to_stream_ += std::exchange(decoder_.data, {});
    to_client_ += std::exchange(decoder_.replies, {});
    if (!taken.ok()) log::Debug("attach/ws: {}", taken.error().message());
    if (!taken.ok() || decoder_.closed()) client_ended_ = true;
  }

  void UpdateWatches() {
    bool reads_client = to_stream_.empty() && to_client_.empty() && !client_ended_;
    bool reads_stream = to_client_.empty() && !stream_ended_ && !client_ended_;
    (void)loop_.SetEvents(
        client_, (reads_client ? EPOLLIN : 0U) | (to_client_.empty() ? 0U : uint32_t{EPOLLOUT}));
    if (stream_ended_) {
      // Its hang-up would be reported again and again.
      if (stream_watched_) loop_.Unwatch(stream_);
      stream_watched_ = false;
    } else {
      (void)loop_.SetEvents(
          stream_, (reads_stream ? EPOLLIN : 0U) | (to_stream_.empty() ? 0U : uint32_t{EPOLLOUT}));
    }
  }

  void End() {
    if (std::exchange(ended_, true)) return;
    loop_.Unwatch(client_);
    if (stream_watched_) loop_.Unwatch(stream_);
    client_.Reset();
    stream_.Reset();
  }

  EventLoop& loop_;
  UniqueFd client_;
  UniqueFd stream_;
  WebSocketDecoder decoder_;
  std::string to_stream_;
  std::string to_client_;
  bool client_ended_ = false;
  bool stream_ended_ = false;
  bool stream_watched_ = true;
  bool ended_ = false;
};

}  // namespace

void BridgeWebSocket(EventLoop& loop, UniqueFd client, std::string received, UniqueFd stream) {
  auto bridge = std::make_shared<Bridge>(loop, std::move(client), std::move(stream));
  loop.Post([bridge, received = std::move(received)] { bridge->Begin(received); });
}

}  // namespace gantry::engine::api
