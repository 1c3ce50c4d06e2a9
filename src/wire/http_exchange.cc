// SPDX-License-Identifier: Apache-2.0
#include "wire/http_exchange.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "wire/http_server.h"
#include "wire/socket_io.h"

namespace gantry::wire {
namespace {

constexpr std::chrono::seconds kBodyTimeout{60};
constexpr size_t kBodyChunk = size_t{64} << 10;
// Of a body that tells its length, which nothing else can follow in what is read.
constexpr size_t kSizedBodyChunk = size_t{256} << 10;
// A body that nobody read is skipped up to here; beyond, the connection is closed.
constexpr size_t kMaxSkippedBody = size_t{256} << 10;
// Of all requests together, as far as bodies are kept whole: clients that send half of one each
// hold no more than this.
constexpr size_t kMaxBodiesHeld = size_t{256} << 20;
// So much of each is free, so that who fills the budget keeps nobody from what is usual.
constexpr size_t kFreeBody = size_t{64} << 10;
std::atomic<size_t> g_bodies_held = 0;

}  // namespace

// The request's body: first what came with the head, then the socket.
class RequestBody : public ByteSource {
 public:
  RequestBody(ServerConnection& connection, const HttpRequest& request)
      : connection_(connection),
        framing_(request.framing),
        left_(request.content_length),
        expects_continue_(request.headers.HasToken("Expect", "100-continue")) {}

  Result<std::string_view> Next() override {
    connection_.received.erase(0, std::exchange(shown_, 0));
    while (!AtEnd()) {
      if (connection_.received.empty()) {
        if (framing_ == BodyFraming::kLength) return NextOfSocket();
        TRY(Fill());
      }
      if (framing_ == BodyFraming::kLength) {
        std::string_view piece = std::string_view(connection_.received).substr(0, left_);
        left_ -= piece.size();
        shown_ = piece.size();
        return piece;
      }
      ChunkedDecoder::Step step = TRY(chunks_.Next(connection_.received));
      if (!step.body.empty()) {
        shown_ = step.consumed;
        return step.body;
      }
      connection_.received.erase(0, step.consumed);
    }
    return std::string_view();
  }

  bool AtEnd() const {
    switch (framing_) {
      case BodyFraming::kLength:
        return left_ == 0;
      case BodyFraming::kChunked:
        return chunks_.done();
      default:
        return true;
    }
  }
  bool started() const { return !expects_continue_; }
  void Settle() { connection_.received.erase(0, std::exchange(shown_, 0)); }

 private:
  // Without a copy by way of `received`.
  Result<std::string_view> NextOfSocket() {
    if (buffer_ == nullptr) {
      buffer_size_ = std::min<uint64_t>(left_, kSizedBodyChunk);
      buffer_ = std::make_unique<char[]>(buffer_size_);
    }
    size_t count = TRY(Receive(buffer_.get(), std::min<uint64_t>(left_, buffer_size_)));
    left_ -= count;
    return std::string_view(buffer_.get(), count);
  }

  Result<> Fill() {
    char buffer[kBodyChunk];
    size_t count = TRY(Receive(buffer, sizeof buffer));
    connection_.received.append(buffer, count);
    return {};
  }

  // At least one byte.
  Result<size_t> Receive(char* buffer, size_t size) {
    if (std::exchange(expects_continue_, false)) {
      TRY(SendAll(connection_.socket, "HTTP/1.1 100 Continue\r\n\r\n"));
    }
    for (;;) {
      ssize_t count = ::recv(connection_.socket.get(), buffer, size, MSG_DONTWAIT);
      if (count > 0) return static_cast<size_t>(count);
      if (count == 0) return Unavailable("reading the request's body: the client has hung up");
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return ErrnoError("reading the request's body");
      TRY_WITH(WaitForClient(connection_.socket, POLLIN, kBodyTimeout),
               "reading the request's body");
    }
  }

  ServerConnection& connection_;
  BodyFraming framing_;
  uint64_t left_;
  bool expects_continue_;
  ChunkedDecoder chunks_;
  size_t shown_ = 0;  // bytes of `received` that the last Next() gave out
  std::unique_ptr<char[]> buffer_;
  size_t buffer_size_ = 0;
};

Exchange::Exchange(std::shared_ptr<HttpServer> server, std::unique_ptr<ServerConnection> connection,
                   HttpRequest request, Target target)
    : server_(std::move(server)),
      connection_(std::move(connection)),
      request_(std::move(request)),
      target_(std::move(target)),
      body_(std::make_unique<RequestBody>(*connection_, request_)),
      keep_alive_(request_.KeepAlive()) {}

Exchange::~Exchange() { g_bodies_held.fetch_sub(charged_); }

ByteSource& Exchange::body() { return *body_; }

Result<std::string> Exchange::ReadBody(size_t limit) {
  std::string text;
  // Only what comes is touched.
  text.reserve(std::min<uint64_t>(limit, request_.content_length));
  for (;;) {
    std::string_view piece = TRY(body_->Next());
    if (piece.empty()) break;
    if (piece.size() > limit - text.size()) {
      return Error(ErrorKind::kInvalidArgument,
                   fmt::format("the body of the request is longer than {} bytes", limit), EMSGSIZE);
    }
    TRY(TakeBudget(piece.size()));
    text.append(piece);
  }
  body_->Settle();
  return text;
}

Result<> Exchange::TakeBudget(size_t bytes) {
  size_t before = charged_;
  body_size_ += bytes;
  charged_ = body_size_ > kFreeBody ? body_size_ - kFreeBody : 0;
  size_t more = charged_ - before;
  if (g_bodies_held.fetch_add(more) + more <= kMaxBodiesHeld || more == 0) return {};
  return Unavailable("the bodies of the requests that are being read are too long together");
}

bool Exchange::SkipBody() {
  // The client waits for a 100 that it will not get: it may send the body or not, so the
  // connection can't be used again.
  if (!body_->AtEnd() && !body_->started()) return false;
  size_t skipped = 0;
  while (!body_->AtEnd()) {
    Result<std::string_view> piece = body_->Next();
    if (!piece.ok()) return false;
    skipped += piece->size();
    if (skipped > kMaxSkippedBody) return false;
  }
  body_->Settle();
  return true;
}

Result<std::string> Exchange::FormatAnswer(int status, bool with_body) {
  HttpResponse response;
  response.status = status;
  response.reason = std::string(ReasonPhrase(status));
  response.headers = headers_;
  if (with_body && !keep_alive_) response.headers.Set("Connection", "close");
  return FormatHead(response);
}

Result<> Exchange::Respond(int status, std::string_view body) {
  CHECK(state_ == State::kOpen);
  state_ = State::kDone;
  bool bodiless = status == 204 || status == 304 || status < 200;
  if (!bodiless && headers_.Find("Content-Length") == nullptr) {
    headers_.Set("Content-Length", std::to_string(body.size()));
  }
  std::string answer = TRY(FormatAnswer(status, true));
  if (!bodiless && request_.method != "HEAD") answer.append(body);
  return SendAll(connection_->socket, answer);
}

Result<> Exchange::Begin(int status) {
  CHECK(state_ == State::kOpen);
  state_ = State::kStreaming;
  bool sized = headers_.Find("Content-Length") != nullptr;
  chunked_ = request_.minor_version >= 1 && !sized;
  if (chunked_) {
    headers_.Set("Transfer-Encoding", "chunked");
  } else if (!sized) {
    keep_alive_ = false;
  }
  std::string answer = TRY(FormatAnswer(status, true));
  return SendAll(connection_->socket, answer);
}

Result<> Exchange::Write(std::string_view data) {
  CHECK(state_ == State::kStreaming);
  if (data.empty() || request_.method == "HEAD") return {};
  if (!chunked_) return SendAll(connection_->socket, data);
  std::string head = ChunkHead(data.size());
  return SendAll(connection_->socket, {head, data, "\r\n"});
}

Result<> Exchange::Finish() {
  CHECK(state_ == State::kStreaming);
  state_ = State::kDone;
  if (!chunked_ || request_.method == "HEAD") return {};
  return SendAll(connection_->socket, kLastChunk);
}

Result<std::shared_ptr<ResponseSink>> Exchange::Park(int status) {
  if (state_ == State::kOpen) {
    if (!SkipBody()) keep_alive_ = false;
    TRY(Begin(status));
  }
  CHECK(state_ == State::kStreaming);
  state_ = State::kTaken;
  return std::make_shared<ResponseSink>(server_->parked_loop(), server_, std::move(connection_),
                                        chunked_, keep_alive_);
}

Result<Exchange::Raw> Exchange::Hijack(int status) {
  CHECK(state_ == State::kOpen);
  if (!SkipBody()) return InvalidArgument("taking over the connection: the body is too long");
  std::string answer = TRY(FormatAnswer(status, false));
  TRY(SendAll(connection_->socket, answer));
  state_ = State::kTaken;
  return Raw{std::move(connection_->socket), std::move(connection_->received)};
}

ResponseSink::ResponseSink(EventLoop& loop, std::shared_ptr<HttpServer> server,
                           std::unique_ptr<ServerConnection> connection, bool chunked,
                           bool keep_alive)
    : loop_(loop),
      server_(std::move(server)),
      chunked_(chunked),
      keep_alive_(keep_alive),
      connection_(std::move(connection)) {}

ResponseSink::~ResponseSink() = default;

bool ResponseSink::Write(std::string_view data) {
  MutexLock lock(mutex_);
  if (gone_ || finished_) return false;
  if (data.empty()) return true;
  if (chunked_) {
    AppendChunk(data, &queue_);
  } else {
    queue_.append(data);
  }
  Flush();
  return !gone_;
}

void ResponseSink::Finish() {
  MutexLock lock(mutex_);
  if (finished_) return;
  finished_ = true;
  if (gone_) return;
  if (chunked_) queue_.append(kLastChunk);
  Flush();
  if (!settle_posted_) {
    settle_posted_ = true;
    loop_.Post([self = shared_from_this()] { self->Settle(); });
  }
}

size_t ResponseSink::queued() const {
  MutexLock lock(mutex_);
  return queue_.size() - sent_;
}

bool ResponseSink::closed() const {
  MutexLock lock(mutex_);
  return gone_ || finished_;
}

void ResponseSink::Watch(std::function<void()> gone, std::function<void()> drained) {
  MutexLock lock(mutex_);
  on_gone_ = std::move(gone);
  on_drained_ = std::move(drained);
  if (!settle_posted_) {
    settle_posted_ = true;
    loop_.Post([self = shared_from_this()] { self->Settle(); });
  }
}

// Sends what the socket takes. What is left needs the loop.
void ResponseSink::Flush() {
  while (sent_ < queue_.size()) {
    ssize_t count = ::send(connection_->socket.get(), queue_.data() + sent_, queue_.size() - sent_,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
      sent_ += static_cast<size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) gone_ = true;
    break;
  }
  if (sent_ == queue_.size()) {
    queue_.clear();
    sent_ = 0;
  }
  if ((gone_ || !queue_.empty()) && !settle_posted_) {
    settle_posted_ = true;
    loop_.Post([self = shared_from_this()] { self->Settle(); });
  }
}

// In the loop's thread: brings the watch in line with the state.
void ResponseSink::Settle() {
  std::function<void()> call;
  {
    MutexLock lock(mutex_);
    settle_posted_ = false;
    if (connection_ == nullptr) return;
    if (gone_ || (finished_ && queue_.empty())) {
      if (watched_) loop_.Unwatch(connection_->socket);
      watched_ = false;
      if (gone_ || !keep_alive_) {
        connection_.reset();
      } else {
        server_->Resume(std::move(connection_));
      }
      if (gone_ && !finished_) call = std::move(on_gone_);
      on_gone_ = nullptr;
      on_drained_ = nullptr;
    } else {
      uint32_t events = EPOLLRDHUP | (queue_.empty() ? 0u : uint32_t{EPOLLOUT});
      if (watched_) {
        (void)loop_.SetEvents(connection_->socket, events);
      } else {
        Result<> watching =
            loop_.Watch(connection_->socket, events,
                        [self = shared_from_this()](uint32_t seen) { self->OnEvents(seen); });
        watched_ = watching.ok();
        if (!watching.ok()) gone_ = true;
      }
    }
  }
  if (call) call();
}

void ResponseSink::OnEvents(uint32_t events) {
  std::function<void()> drained;
  {
    MutexLock lock(mutex_);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) gone_ = true;
    if (!gone_ && (events & EPOLLOUT)) {
      Flush();
      if (queue_.empty() && !finished_) drained = on_drained_;
    }
  }
  Settle();
  if (drained) drained();
}

}  // namespace gantry::wire
