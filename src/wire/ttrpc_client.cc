// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "base/io.h"
#include "base/mutex.h"
#include "wire/ttrpc.h"

namespace gantry::wire {
namespace {

Result<UniqueFd> ConnectUnix(std::string_view path) {
  if (path.starts_with("unix://")) path.remove_prefix(7);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return InvalidArgument("connecting to '{}': not a path of 1 to 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError("making a socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("connecting to '{}'", path);
  }
  return fd;
}

Error Closed() { return Error(ErrorKind::kUnavailable, "ttrpc: closed"); }

}  // namespace

// Shared by the client and by what it has posted to the loop. The descriptor is written under the
// mutex by callers, read by the loop's thread only, and closed by the loop's thread only.
class TtrpcClient::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(EventLoop* loop, UniqueFd fd, std::function<void()> on_close)
      : loop_(loop), fd_(std::move(fd)), on_close_(std::move(on_close)) {}

  void Start() {
    loop_->Post([self = shared_from_this()] { self->Watch(); });
  }

  // The stream of the call, or 0 when it failed already (the callback is posted then).
  uint32_t Send(TtrpcRequest request, Callback callback) {
    std::string payload = formats::ProtoEncode(request);
    MutexLock lock(mutex_);
    if (closed_ || payload.size() > kTtrpcMaxPayload) {
      Error error = closed_
                        ? Closed()
                        : MakeError(ErrorKind::kResourceExhausted,
                                    "calling '{}': request is longer than 4 MiB", request.method);
      loop_->Post([callback = std::move(callback), error = std::move(error)] { callback(error); });
      return 0;
    }
    uint32_t stream = next_stream_;
    next_stream_ += 2;
    pending_.emplace(stream, std::move(callback));
    AppendTtrpcFrame(&out_, stream, TtrpcType::kRequest, kTtrpcRemoteClosed, payload);
    Flush();
    return stream;
  }

  // The callback of a call that is not answered yet, or nothing.
  Callback Take(uint32_t stream) {
    MutexLock lock(mutex_);
    auto found = pending_.find(stream);
    if (found == pending_.end()) return nullptr;
    Callback callback = std::move(found->second);
    pending_.erase(found);
    return callback;
  }

  // Loop's thread. A call that is answered in time leaves nothing behind.
  void LimitTime(uint32_t stream, std::chrono::nanoseconds timeout, const std::string& method) {
    {
      MutexLock lock(mutex_);
      if (!pending_.contains(stream)) return;
    }
    timers_[stream] = loop_->After(timeout, [this, self = weak_from_this(), stream, method] {
      auto alive = self.lock();
      if (alive == nullptr) return;
      timers_.erase(stream);
      Callback late = Take(stream);
      if (late) late(MakeError(ErrorKind::kDeadlineExceeded, "calling '{}': no answer", method));
    });
  }

  // Any thread; the owner is gone.
  void Abandon() {
    loop_->Post([self = shared_from_this()] {
      self->on_close_ = nullptr;
      self->Close();
    });
  }

  EventLoop* loop() const { return loop_; }

 private:
  void Watch() {
    if (!fd_.valid()) return;
    MutexLock lock(mutex_);
    Result<> watched =
        loop_->Watch(fd_, out_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT,
                     [self = shared_from_this()](uint32_t events) { self->OnEvents(events); });
    if (!watched.ok()) {
      loop_->Post([self = shared_from_this()] { self->Close(); });
      return;
    }
    watching_ = true;
  }

  void OnEvents(uint32_t events) {
    auto self = shared_from_this();
    if ((events & EPOLLOUT) != 0) {
      MutexLock lock(mutex_);
      Flush();
      if (out_.empty()) (void)loop_->SetEvents(fd_, EPOLLIN);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Read();
  }

  void Read() {
    std::array<char, 16384> buffer;
    Result<size_t> got = ReadSome(fd_, buffer.data(), buffer.size());
    if (!got.ok() && got.error().error_number() == EAGAIN) return;
    if (!got.ok() || *got == 0) return Close();
    parser_.Feed(std::string_view(buffer.data(), *got));
    while (auto frame = parser_.Next()) {
      if (frame->type != static_cast<uint8_t>(TtrpcType::kResponse)) continue;
      Callback callback = Take(frame->stream);
      if (!callback) continue;
      if (auto timer = timers_.extract(frame->stream)) loop_->CancelTimer(timer.mapped());
      callback(Decode(*frame));
      if (!fd_.valid()) return;
    }
  }

  static Result<std::string> Decode(const TtrpcFrame& frame) {
    if (frame.oversized) {
      return MakeError(ErrorKind::kResourceExhausted, "reading an answer: longer than 4 MiB");
    }
    TtrpcResponse response = TRY(formats::ProtoDecode<TtrpcResponse>(frame.payload));
    return std::move(response).ToResult();
  }

  // What the socket does not take now is left to the loop. A write that fails shuts the socket
  // down, so that the loop sees its end.
  void Flush() REQUIRES(mutex_) {
    while (!out_.empty()) {
      ssize_t put = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) {
        loop_->Post([self = shared_from_this()] {
          if (self->watching_ && self->fd_.valid()) {
            (void)self->loop_->SetEvents(self->fd_, EPOLLIN | EPOLLOUT);
          }
        });
        return;
      }
      if (put < 0) {
        ::shutdown(fd_.get(), SHUT_RDWR);
        out_.clear();
        return;
      }
      out_.erase(0, static_cast<size_t>(put));
    }
  }

  // Loop's thread.
  void Close() {
    std::map<uint32_t, Callback> pending;
    {
      MutexLock lock(mutex_);
      if (closed_) return;
      closed_ = true;
      pending.swap(pending_);
      auto self = shared_from_this();
      loop_->Unwatch(fd_);
      fd_.Reset();
    }
    for (auto& [stream, timer] : std::exchange(timers_, {})) loop_->CancelTimer(timer);
    for (auto& [stream, callback] : pending) callback(Closed());
    if (auto on_close = std::exchange(on_close_, nullptr)) on_close();
  }

  EventLoop* loop_;
  UniqueFd fd_;
  std::function<void()> on_close_;                 // loop's thread
  TtrpcParser parser_;                             // loop's thread
  bool watching_ = false;                          // loop's thread
  std::map<uint32_t, EventLoop::TimerId> timers_;  // loop's thread

  Mutex mutex_;
  bool closed_ GUARDED_BY(mutex_) = false;
  uint32_t next_stream_ GUARDED_BY(mutex_) = 1;
  std::map<uint32_t, Callback> pending_ GUARDED_BY(mutex_);
  std::string out_ GUARDED_BY(mutex_);
};

Result<std::unique_ptr<TtrpcClient>> TtrpcClient::Connect(EventLoop* loop, const std::string& path,
                                                          std::function<void()> on_close,
                                                          Metadata metadata) {
  UniqueFd fd = TRY(ConnectUnix(path));
  auto connection = std::make_shared<Connection>(loop, std::move(fd), std::move(on_close));
  connection->Start();
  return std::unique_ptr<TtrpcClient>(new TtrpcClient(std::move(connection), std::move(metadata)));
}

TtrpcClient::TtrpcClient(std::shared_ptr<Connection> connection, Metadata metadata)
    : connection_(std::move(connection)), metadata_(std::move(metadata)) {}

TtrpcClient::~TtrpcClient() { connection_->Abandon(); }

Result<std::string> TtrpcClient::Call(std::string_view service, std::string_view method,
                                      std::string_view payload, std::chrono::nanoseconds timeout) {
  struct Waiter {
    Mutex mutex;
    CondVar condition;
    std::optional<Result<std::string>> result GUARDED_BY(mutex);
  };
  auto waiter = std::make_shared<Waiter>();
  TtrpcRequest request{std::string(service), std::string(method), std::string(payload),
                       timeout.count(), metadata_};
  uint32_t stream = connection_->Send(std::move(request), [waiter](Result<std::string> result) {
    MutexLock lock(waiter->mutex);
    waiter->result = std::move(result);
    waiter->condition.NotifyAll();
  });
  auto deadline = SteadyClock::now() + timeout;
  bool late = false;
  {
    MutexLock lock(waiter->mutex);
    while (!waiter->result.has_value() && !late) {
      if (timeout.count() == 0) {
        waiter->condition.Wait(waiter->mutex);
      } else {
        auto left = deadline - SteadyClock::now();
        late = left.count() <= 0;
        if (!late) waiter->condition.WaitFor(waiter->mutex, left);
      }
    }
    if (waiter->result.has_value()) return std::move(*waiter->result);
  }
  (void)connection_->Take(stream);
  return MakeError(ErrorKind::kDeadlineExceeded, "calling '{}': no answer in {} ms", method,
                   std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count());
}

void TtrpcClient::CallAsync(std::string_view service, std::string_view method,
                            std::string_view payload, std::chrono::nanoseconds timeout,
                            Callback callback) {
  TtrpcRequest request{std::string(service), std::string(method), std::string(payload),
                       timeout.count(), metadata_};
  uint32_t stream = connection_->Send(std::move(request), std::move(callback));
  if (stream == 0 || timeout.count() == 0) return;
  connection_->loop()->Post([connection = std::weak_ptr<Connection>(connection_), stream, timeout,
                             method = std::string(method)] {
    if (auto alive = connection.lock()) alive->LimitTime(stream, timeout, method);
  });
}

}  // namespace gantry::wire
