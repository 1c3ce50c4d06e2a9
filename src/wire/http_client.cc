// SPDX-License-Identifier: Apache-2.0
#include "wire/http_client.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/io.h"

namespace gantry::wire {
namespace {

constexpr size_t kBufferBytes = 64 * 1024;

Result<UniqueFd> ConnectUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("connecting to '{}': path is longer than {} bytes", path,
                           sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError("making a unix socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("connecting to '{}'", path);
  }
  return fd;
}

Result<UniqueFd> ConnectTcp(const std::string& address) {
  size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  std::string port = address.substr(colon + 1);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (code != 0) return Unavailable("looking up '{}': {}", host, ::gai_strerror(code));
  Error last = Unavailable("connecting to '{}': no address", address);
  UniqueFd fd;
  for (addrinfo* at = found; at != nullptr && !fd.valid(); at = at->ai_next) {
    UniqueFd candidate(::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol));
    if (candidate.valid() && ::connect(candidate.get(), at->ai_addr, at->ai_addrlen) == 0) {
      fd = std::move(candidate);
    } else {
      last = ErrnoError("connecting to '{}'", address);
    }
  }
  ::freeaddrinfo(found);
  if (!fd.valid()) return last;
  // Requests and keystrokes are small writes whose answers somebody waits for.
  int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

Result<> SendAll(BorrowedFd fd, std::string_view first, std::string_view second) {
  while (!first.empty() || !second.empty()) {
    iovec parts[2] = {{const_cast<char*>(first.data()), first.size()},
                      {const_cast<char*>(second.data()), second.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t sent = ::sendmsg(fd.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("sending a request");
    }
    size_t from_first = std::min(first.size(), static_cast<size_t>(sent));
    first.remove_prefix(from_first);
    second.remove_prefix(static_cast<size_t>(sent) - from_first);
  }
  return {};
}

}  // namespace

Result<Endpoint> Endpoint::Parse(std::string_view url) {
  Endpoint endpoint;
  size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) {
    return InvalidArgument("parsing host '{}': expected unix://PATH or tcp://HOST:PORT", url);
  }
  std::string_view scheme = url.substr(0, scheme_end);
  std::string_view rest = url.substr(scheme_end + 3);
  if (scheme == "unix") {
    if (rest.empty()) return InvalidArgument("parsing host '{}': the path is missing", url);
    endpoint.address = rest;
    return endpoint;
  }
  if (scheme != "tcp" && scheme != "http") {
    return Unimplemented("parsing host '{}': scheme '{}' is not supported", url, scheme);
  }
  endpoint.scheme = Scheme::kTcp;
  size_t slash = rest.find('/');
  endpoint.address = rest.substr(0, slash);
  if (slash != std::string_view::npos) endpoint.base_path = rest.substr(slash);
  while (!endpoint.base_path.empty() && endpoint.base_path.back() == '/') {
    endpoint.base_path.pop_back();
  }
  size_t bracket = endpoint.address.rfind(']');
  size_t colon = endpoint.address.rfind(':');
  bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  if (endpoint.address.empty()) {
    return InvalidArgument("parsing host '{}': the address is missing", url);
  }
  if (!has_port) endpoint.address += ":2375";
  return endpoint;
}

std::string Endpoint::HostHeader() const {
  return scheme == Scheme::kUnix ? "api.moby.localhost" : address;
}

Result<HttpConnection> HttpConnection::Connect(const Endpoint& endpoint) {
  if (endpoint.scheme == Endpoint::Scheme::kUnix) {
    return HttpConnection(TRY(ConnectUnix(endpoint.address)));
  }
  return HttpConnection(TRY(ConnectTcp(endpoint.address)));
}

HttpConnection::HttpConnection(UniqueFd socket) : socket_(std::move(socket)) {}

Result<> HttpConnection::Send(HttpRequest request, std::string_view body) {
  if (!body.empty() || request.method == "POST" || request.method == "PUT") {
    request.headers.Set("Content-Length", fmt::format("{}", body.size()));
  }
  std::string head = TRY(FormatHead(request));
  return SendAll(socket_, head, body);
}

namespace {

// Until the end of the scope a socket is non-blocking, and one that the other side has closed
// raises no signal: sendfile(2) knows no flags for either.
class QuietSocket {
 public:
  explicit QuietSocket(BorrowedFd socket)
      : socket_(socket), flags_(::fcntl(socket.get(), F_GETFL)) {
    ::fcntl(socket.get(), F_SETFL, flags_ | O_NONBLOCK);
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~QuietSocket() {
    timespec now{};
    while (::sigtimedwait(&pipe_, nullptr, &now) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    ::fcntl(socket_.get(), F_SETFL, flags_);
  }
  QuietSocket(const QuietSocket&) = delete;
  QuietSocket& operator=(const QuietSocket&) = delete;

 private:
  const BorrowedFd socket_;
  const int flags_;
  sigset_t pipe_{};
  sigset_t before_{};
};

// A body on its way: bytes that were framed here, and behind them the rest of a file, whose pages
// go to the socket without being copied.
struct OutgoingBody {
  BorrowedFd source;
  bool sized = false;
  uint64_t left = 0;    // of the file
  std::string pending;  // framed
  size_t sent = 0;      // of pending
  std::vector<char> piece;
  bool ended = false;  // all that is left is in `pending`

  bool done() const { return ended && sent == pending.size(); }

  // Takes the next chunk of a source without a size into `pending`.
  Result<> Frame() {
    piece.resize(kChunkBytes);
    size_t got = TRY_WITH(ReadSome(source, piece.data(), piece.size()), "reading the body to send");
    sent = 0;
    pending.clear();
    ended = got == 0;
    if (ended) pending = kLastChunk;
    if (!ended) AppendChunk(std::string_view(piece.data(), got), &pending);
    return {};
  }

  // As send(2).
  ssize_t Put(BorrowedFd socket) {
    if (sent < pending.size()) {
      ssize_t put = ::send(socket.get(), pending.data() + sent, pending.size() - sent, 0);
      if (put > 0) sent += static_cast<size_t>(put);
      return put;
    }
    ssize_t put = ::sendfile(socket.get(), source.get(), nullptr, left);
    if (put > 0) left -= static_cast<uint64_t>(put);
    ended = left == 0;
    return put;
  }

  static constexpr size_t kChunkBytes = size_t{256} << 10;
};

}  // namespace

Result<> HttpConnection::SendFrom(HttpRequest request, BorrowedFd source) {
  OutgoingBody body{.source = source};
  struct stat info{};
  body.sized = ::fstat(source.get(), &info) == 0 && S_ISREG(info.st_mode);
  off_t position = body.sized ? ::lseek(source.get(), 0, SEEK_CUR) : 0;
  body.sized = body.sized && position >= 0;
  if (body.sized) {
    body.left = info.st_size > position ? static_cast<uint64_t>(info.st_size - position) : 0;
    request.headers.Set("Content-Length", fmt::format("{}", body.left));
  } else {
    request.headers.Set("Transfer-Encoding", "chunked");
  }
  body.pending = TRY(FormatHead(request));
  body.ended = body.sized && body.left == 0;
  QuietSocket quiet(socket_);
  while (!body.done()) {
    if (!body.sized && body.sent == body.pending.size()) TRY(body.Frame());
    pollfd wait{socket_.get(), POLLIN | POLLOUT, 0};
    if (::poll(&wait, 1, -1) < 0 && errno != EINTR) return ErrnoError("waiting for the server");
    // A server that answers while it reads must not be blocked by an answer that nobody takes.
    if ((wait.revents & POLLIN) != 0) {
      Result<bool> filled = Fill();
      // One that closes before it has read everything resets the connection behind its answer.
      if (!filled.ok() && begin_ == end_) return filled.error();
      if (!filled.ok() || !*filled) {
        keep_alive_ = false;
        return {};
      }
    }
    if ((wait.revents & (POLLOUT | POLLERR | POLLHUP)) == 0) continue;
    ssize_t put = body.Put(socket_);
    if (put == 0) return Unavailable("sending a body: the file has become shorter");
    if (put > 0 || errno == EAGAIN || errno == EINTR) continue;
    if (errno != EPIPE && errno != ECONNRESET) return ErrnoError("sending a body");
    keep_alive_ = false;
    return {};  // its answer, if any, says why
  }
  return {};
}

// Receives more bytes behind those that wait; false at the end of the connection.
Result<bool> HttpConnection::Fill() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ > 0 && end_ == buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < kBufferBytes / 4) buffer_.resize(buffer_.size() + kBufferBytes);
  for (;;) {
    ssize_t got = ::recv(socket_.get(), buffer_.data() + end_, buffer_.size() - end_, 0);
    if (got > 0) {
      end_ += static_cast<size_t>(got);
      return true;
    }
    if (got == 0) return false;
    if (errno != EINTR) return ErrnoError("receiving an answer");
  }
}

Result<HttpResponse> HttpConnection::ReceiveHead(std::string_view method) {
  HttpHeadParser parser(HttpHeadParser::Kind::kResponse);
  for (;;) {
    if (method == "HEAD") parser.ExpectNoBody();
    while (!parser.done()) {
      if (begin_ == end_ && !TRY(Fill())) {
        return Unavailable("receiving an answer: the server closed the connection{}",
                           parser.started() ? " within it" : "");
      }
      begin_ += TRY(parser.Feed(Waiting()));
    }
    HttpResponse response = parser.TakeResponse();
    if (response.status < 200 && response.status != 101) continue;
    framing_ = response.framing;
    left_ = response.content_length;
    chunks_ = ChunkedDecoder();
    body_done_ = framing_ == BodyFraming::kNone;
    keep_alive_ = keep_alive_ && response.KeepAlive();
    return response;
  }
}

Result<std::string_view> HttpConnection::ReadBody() {
  while (!body_done_) {
    if (begin_ == end_ && !TRY(Fill())) {
      keep_alive_ = false;
      body_done_ = true;
      if (framing_ == BodyFraming::kUntilClose) break;
      return Unavailable("receiving an answer: the server closed the connection within it");
    }
    std::string_view data = Waiting();
    if (framing_ == BodyFraming::kLength) {
      data = data.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, data.size())));
      left_ -= data.size();
      body_done_ = left_ == 0;
    } else if (framing_ == BodyFraming::kChunked) {
      ChunkedDecoder::Step step = TRY(chunks_.Next(data));
      begin_ += step.consumed;
      body_done_ = chunks_.done();
      if (!step.body.empty()) return step.body;
      continue;
    }
    begin_ += data.size();
    return data;
  }
  return std::string_view();
}

Result<std::string> HttpConnection::ReadWholeBody(size_t limit) {
  std::string out;
  for (;;) {
    std::string_view piece = TRY(ReadBody());
    if (piece.empty()) return out;
    if (out.size() + piece.size() > limit) {
      return MakeError(ErrorKind::kResourceExhausted, "receiving an answer: more than {} bytes",
                       limit);
    }
    out.append(piece);
  }
}

bool HttpConnection::Reusable() {
  if (!socket_.valid() || !body_done_ || !keep_alive_ || begin_ != end_) return false;
  pollfd look{socket_.get(), POLLIN | POLLRDHUP, 0};
  return ::poll(&look, 1, 0) == 0;
}

HttpConnection::Raw HttpConnection::Hijack() && {
  return Raw{std::move(socket_), std::string(Waiting())};
}

}  // namespace gantry::wire
