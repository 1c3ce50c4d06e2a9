// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/io.h"
#include "base/log.h"
#include "wire/ttrpc.h"

namespace gantry::wire {
namespace {

// A peer that asks and never reads its answers is dropped beyond this.
constexpr size_t kMaxUnsent = size_t{16} << 20;

bool PeerAllowed(BorrowedFd fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

}  // namespace

class TtrpcServerConnection : public std::enable_shared_from_this<TtrpcServerConnection> {
 public:
  TtrpcServerConnection(TtrpcServer* server, UniqueFd fd) : server_(server), fd_(std::move(fd)) {}
  ~TtrpcServerConnection() { Close(); }

  Result<> Start() {
    return server_->loop_->Watch(fd_, EPOLLIN, [this](uint32_t events) { OnEvents(events); });
  }

  void Send(uint32_t stream, const TtrpcResponse& response) {
    if (!fd_.valid()) return;
    AppendTtrpcFrame(&out_, stream, TtrpcType::kResponse, 0, formats::ProtoEncode(response));
    Flush();
  }

  size_t unsent() const { return out_.size(); }

  void Close() {
    if (!fd_.valid()) return;
    server_->loop_->Unwatch(fd_);
    fd_.Reset();
  }

 private:
  void OnEvents(uint32_t events) {
    // A handler or a failed write may drop the server's reference.
    auto self = shared_from_this();
    if ((events & EPOLLOUT) != 0) Flush();
    if (fd_.valid() && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Read();
  }

  void Read() {
    std::array<char, 16384> buffer;
    Result<size_t> got = ReadSome(fd_, buffer.data(), buffer.size());
    if (!got.ok() && got.error().error_number() == EAGAIN) return;
    if (!got.ok() || *got == 0) return End();
    parser_.Feed(std::string_view(buffer.data(), *got));
    while (auto frame = parser_.Next()) {
      Handle(std::move(*frame));
      if (!fd_.valid()) return;
    }
  }

  void Handle(TtrpcFrame frame) {
    auto refuse = [&](Error error) { Send(frame.stream, TtrpcResponse::From(std::move(error))); };
    // Data frames belong to streaming calls, of which no method here has any.
    if (frame.type == static_cast<uint8_t>(TtrpcType::kData)) return;
    if (frame.stream % 2 == 0) return refuse(InvalidArgument("stream ids of clients are odd"));
    if (frame.oversized) {
      return refuse(MakeError(ErrorKind::kResourceExhausted, "request is longer than 4 MiB"));
    }
    if (frame.type != static_cast<uint8_t>(TtrpcType::kRequest)) {
      return refuse(InvalidArgument("unexpected frame of type {}", frame.type));
    }
    Result<TtrpcRequest> request = formats::ProtoDecode<TtrpcRequest>(frame.payload);
    if (!request.ok()) return refuse(std::move(request).error());
    server_->handler_(TtrpcCall(weak_from_this(), frame.stream, std::move(*request)));
  }

  void Flush() {
    while (!out_.empty()) {
      ssize_t put = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) break;
      if (put < 0) return End();
      out_.erase(0, static_cast<size_t>(put));
    }
    if (out_.size() > kMaxUnsent) return End();
    bool blocked = !out_.empty();
    if (blocked == watching_output_) return;
    watching_output_ = blocked;
    Result<> set = server_->loop_->SetEvents(fd_, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (!set.ok()) End();
  }

  void End() {
    Close();
    server_->Forget(this);
  }

  TtrpcServer* server_;
  UniqueFd fd_;
  TtrpcParser parser_;
  std::string out_;
  bool watching_output_ = false;
};

TtrpcCall::TtrpcCall(std::weak_ptr<TtrpcServerConnection> connection, uint32_t stream,
                     TtrpcRequest request)
    : state_(std::make_shared<State>()) {
  state_->connection = std::move(connection);
  state_->stream = stream;
  state_->request = std::move(request);
}

std::string_view TtrpcCall::Metadata(std::string_view key) const {
  for (const auto& [name, value] : state_->request.metadata) {
    if (name == key) return value;
  }
  return {};
}

void TtrpcCall::Reply(Result<std::string> result) const { state_->Reply(result); }

void TtrpcCall::State::Reply(const Result<std::string>& result) {
  if (std::exchange(answered, true)) return;
  if (auto alive = connection.lock()) alive->Send(stream, TtrpcResponse::From(result));
}

TtrpcCall::State::~State() {
  if (!answered) Reply(Internal("the call of '{}' was dropped", request.method));
}

Result<std::unique_ptr<TtrpcServer>> TtrpcServer::Create(EventLoop* loop, UniqueFd listener,
                                                         Handler handler) {
  std::unique_ptr<TtrpcServer> server(
      new TtrpcServer(loop, std::move(listener), std::move(handler)));
  TtrpcServer* self = server.get();
  TRY(loop->Watch(self->listener_, EPOLLIN, [self](uint32_t) { self->Accept(); }));
  return server;
}

TtrpcServer::TtrpcServer(EventLoop* loop, UniqueFd listener, Handler handler)
    : loop_(loop), listener_(std::move(listener)), handler_(std::move(handler)) {}

TtrpcServer::~TtrpcServer() {
  loop_->Unwatch(listener_);
  for (auto& [pointer, connection] : connections_) connection->Close();
}

size_t TtrpcServer::PendingBytes() const {
  size_t bytes = 0;
  for (const auto& [pointer, connection] : connections_) bytes += connection->unsent();
  return bytes;
}

void TtrpcServer::Accept() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      log::Warning("{}", ErrnoError("accepting a ttrpc connection").message());
    }
    return;
  }
  if (!PeerAllowed(fd)) return;
  auto connection = std::make_shared<TtrpcServerConnection>(this, std::move(fd));
  Result<> started = connection->Start();
  if (!started.ok()) return log::Warning("{}", started.error().message());
  connections_.emplace(connection.get(), std::move(connection));
}

void TtrpcServer::Forget(TtrpcServerConnection* connection) { connections_.erase(connection); }

}  // namespace gantry::wire
