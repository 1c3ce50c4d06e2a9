// SPDX-License-Identifier: Apache-2.0
#include "wire/http_server.h"

#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "wire/listener.h"
#include "wire/socket_io.h"

namespace gantry::wire {
namespace {

constexpr size_t kMaxHeld = 10'000;
constexpr std::chrono::seconds kIdleLife{300};
constexpr std::chrono::seconds kHeadLife{30};
constexpr std::chrono::seconds kSweepInterval{5};
constexpr std::chrono::seconds kAcceptPause{1};
// A client often asks again at once: the worker waits so long for that before it hands the
// connection back, which would cost two changes of thread a request.
constexpr std::chrono::milliseconds kLinger{1};
constexpr size_t kReadChunk = size_t{16} << 10;
// What an HTTP/2 client sends first, up to where HTTP/1 sees a request without fields.
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\n";

// For what goes wrong before a handler is reached.
std::string PlainAnswer(int status, std::string_view message) {
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
      "Content-Length: {}\r\n\r\n{}\n",
      status, ReasonPhrase(status), message.size() + 1, message);
}

// Without waiting: the loop has other connections.
void RefuseNow(BorrowedFd socket) {
  std::string answer = PlainAnswer(503, "too many connections");
  (void)::send(socket.get(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Leaves the bytes where they are.
bool BeginsHttp2(BorrowedFd socket) {
  std::array<char, kHttp2Preface.size()> begin;
  ssize_t count = ::recv(socket.get(), begin.data(), begin.size(), MSG_DONTWAIT | MSG_PEEK);
  return count == static_cast<ssize_t>(begin.size()) &&
         std::string_view(begin.data(), begin.size()) == kHttp2Preface;
}

int StatusOfHeadError(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kResourceExhausted:
      return 431;
    case ErrorKind::kUnimplemented:
      return 501;
    default:
      return 400;
  }
}

}  // namespace

Result<std::shared_ptr<HttpServer>> HttpServer::Create(WorkerPool& workers, EventLoop& parked,
                                                       Handler handler) {
  auto thread = TRY(LoopThread::Start());
  std::shared_ptr<HttpServer> server(
      new HttpServer(workers, parked, std::move(handler), std::move(thread)));
  server->loop().Post([raw = server.get()] { raw->Sweep(); });
  return server;
}

HttpServer::HttpServer(WorkerPool& workers, EventLoop& parked, Handler handler,
                       std::unique_ptr<LoopThread> thread)
    : workers_(workers),
      parked_(parked),
      handler_(std::move(handler)),
      thread_(std::move(thread)) {}

HttpServer::~HttpServer() {
  // The thread ends first: the other members are its, and this one too.
  thread_->End();
}

Result<> HttpServer::Listen(const std::string& url, const std::string& group) {
  return Adopt(TRY(OpenListener(url, group)));
}

Result<> HttpServer::Adopt(UniqueFd listener, Wrapper wrap) {
  std::promise<Result<>> done;
  loop().Post([this, &done, &listener, &wrap] {
    BorrowedFd fd = listener;
    listeners_.push_back(std::move(listener));
    done.set_value(loop().Watch(
        fd, EPOLLIN, [this, fd, wrap = std::move(wrap)](uint32_t) { Accept(fd, wrap); }));
  });
  return done.get_future().get();
}

void HttpServer::Stop() {
  std::promise<void> done;
  loop().Post([this, &done] {
    for (const UniqueFd& listener : listeners_) loop().Unwatch(listener);
    listeners_.clear();
    for (const auto& [fd, connection] : held_) loop().Unwatch(BorrowedFd(fd));
    held_.clear();
    done.set_value();
  });
  done.get_future().get();
}

void HttpServer::Accept(BorrowedFd listener, const Wrapper& wrap) {
  for (;;) {
    UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == ECONNABORTED) return;
      log::Warning("accepting a connection: {}", std::strerror(errno));
      // No descriptor or memory is free: the connection stays in the backlog, and asking at once
      // would be a loop that ends nowhere.
      (void)loop().SetEvents(listener, 0);
      loop().After(kAcceptPause, [this, listener] { (void)loop().SetEvents(listener, EPOLLIN); });
      return;
    }
    if (held_.size() >= kMaxHeld) {
      if (!wrap) RefuseNow(socket);
      continue;
    }
    if (wrap) {
      Result<UniqueFd> plain = wrap(std::move(socket));
      if (!plain.ok()) {
        log::Warning("accepting a connection: {}", plain.error().message());
        continue;
      }
      socket = *std::move(plain);
    }
    auto connection = std::make_unique<ServerConnection>();
    connection->socket = std::move(socket);
    Hold(std::move(connection));
  }
}

void HttpServer::Resume(std::unique_ptr<ServerConnection> connection) {
  if (!connection->received.empty()) {
    // A pipelined request waits: it never passes through epoll again.
    auto shared = std::make_shared<std::unique_ptr<ServerConnection>>(std::move(connection));
    workers_.Run([self = shared_from_this(), shared] { self->Serve(std::move(*shared)); });
    return;
  }
  auto shared = std::make_shared<std::unique_ptr<ServerConnection>>(std::move(connection));
  loop().Post([this, shared] { Hold(std::move(*shared)); });
}

void HttpServer::Hold(std::unique_ptr<ServerConnection> connection) {
  if (listeners_.empty()) return;  // stopped
  int fd = connection->socket.get();
  connection->deadline = SteadyClock::now() + kIdleLife;
  Result<> watching =
      loop().Watch(connection->socket, EPOLLIN, [this, fd](uint32_t) { OnReadable(fd); });
  if (!watching.ok()) return log::Warning("{}", watching.error().message());
  held_[fd] = std::move(connection);
}

void HttpServer::Drop(int fd) {
  loop().Unwatch(BorrowedFd(fd));
  held_.erase(fd);
}

void HttpServer::OnReadable(int fd) {
  ServerConnection& connection = *held_.at(fd);
  if (connection.leftovers) {
    if (!connection.leftovers->Drop(BorrowedFd(fd))) Drop(fd);
    return;
  }
  if (!std::exchange(connection.has_begun, true) && http2_ && BeginsHttp2(connection.socket)) {
    auto taken = std::make_shared<UniqueFd>(std::move(connection.socket));
    loop().Unwatch(*taken);
    held_.erase(fd);
    return workers_.Run([self = shared_from_this(), taken] { self->http2_(std::move(*taken)); });
  }
  std::array<char, kReadChunk> buffer;
  ssize_t count = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return Drop(fd);
  std::string_view data(buffer.data(), static_cast<size_t>(count));
  if (!connection.parser.started()) connection.deadline = SteadyClock::now() + kHeadLife;
  Result<size_t> used = connection.parser.Feed(data);
  if (!used.ok()) {
    std::string answer = PlainAnswer(StatusOfHeadError(used.error()), used.error().message());
    (void)::send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    connection.leftovers.emplace(BorrowedFd(fd));
    connection.deadline = SteadyClock::now() + kLingerSilence;
    return;
  }
  if (!connection.parser.done()) return;
  connection.received.assign(data.substr(*used));
  auto ready = std::make_shared<std::unique_ptr<ServerConnection>>(std::move(held_.at(fd)));
  Drop(fd);
  workers_.Run([self = shared_from_this(), ready] { self->Serve(std::move(*ready)); });
}

void HttpServer::Sweep() {
  auto now = SteadyClock::now();
  std::vector<int> over;
  for (const auto& [fd, connection] : held_) {
    if (connection->deadline < now) over.push_back(fd);
  }
  for (int fd : over) Drop(fd);
  loop().After(kSweepInterval, [this] { Sweep(); });
}

void HttpServer::Serve(std::unique_ptr<ServerConnection> connection) {
  for (;;) {
    if (!connection->parser.done()) {
      Result<size_t> used = connection->parser.Feed(connection->received);
      if (!used.ok()) {
        (void)SendAll(connection->socket,
                      PlainAnswer(StatusOfHeadError(used.error()), used.error().message()));
        return LingerBeforeClose(connection->socket);
      }
      connection->received.erase(0, *used);
      if (!connection->parser.done()) return Resume(std::move(connection));
    }
    if (!ServeOne(&connection)) return;
    if (connection->received.empty() && !AwaitNext(connection.get())) {
      return Resume(std::move(connection));
    }
  }
}

// True when bytes of a next request have come; the loop finds out about anything else.
bool HttpServer::AwaitNext(ServerConnection* connection) {
  pollfd poll{connection->socket.get(), POLLIN, 0};
  if (!workers_.HasIdle() || ::poll(&poll, 1, kLinger.count()) <= 0) return false;
  std::array<char, kReadChunk> buffer;
  ssize_t count = ::recv(poll.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count <= 0) return false;
  connection->received.assign(buffer.data(), static_cast<size_t>(count));
  return true;
}

bool HttpServer::ServeOne(std::unique_ptr<ServerConnection>* connection) {
  HttpRequest request = (*connection)->parser.TakeRequest();
  Result<Target> target = ParseTarget(request.target);
  if (!target.ok()) {
    (void)SendAll((*connection)->socket, PlainAnswer(400, target.error().message()));
    LingerBeforeClose((*connection)->socket);
    return false;
  }
  Exchange exchange(shared_from_this(), std::move(*connection), std::move(request),
                    *std::move(target));
  handler_(exchange);
  if (exchange.state_ == Exchange::State::kTaken) return false;
  if (exchange.state_ == Exchange::State::kOpen) {
    (void)exchange.Respond(500, "nobody answered this request\n");
  }
  // A stream that was not finished has failed half way: only closing says so.
  bool reusable = exchange.state_ == Exchange::State::kDone && exchange.keep_alive_;
  if (!exchange.SkipBody()) {
    LingerBeforeClose(exchange.socket());
    return false;
  }
  if (!reusable) return false;
  *connection = std::move(exchange.connection_);
  return true;
}

}  // namespace gantry::wire
