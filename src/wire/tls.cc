// SPDX-License-Identifier: Apache-2.0
#include "wire/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "wire/socket_io.h"

namespace gantry::wire {
namespace {

constexpr std::chrono::seconds kHandshakeBound{30};
constexpr size_t kBuffer = size_t{16} << 10;
// What Go's server says, and so docker's.
constexpr std::string_view kPlainHttp =
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

std::string OpensslError() {
  unsigned long code = ::ERR_peek_last_error();
  ::ERR_clear_error();
  std::array<char, 256> text{};
  if (code == 0) return "unknown error";
  ::ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

struct SslDeleter {
  void operator()(SSL* ssl) const { ::SSL_free(ssl); }
};
struct ContextDeleter {
  void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
};

// Bytes on their way in one direction: at most one buffer, refilled when it is empty.
struct Flow {
  std::array<char, kBuffer> bytes;
  size_t begin = 0;
  size_t end = 0;
  bool source_ended = false;  // nothing more comes in
  bool ended = false;         // and the other side has been told

  bool empty() const { return begin == end; }
  bool wants_input() const { return empty() && !source_ended; }
};

enum class Step { kMoved, kBlocked, kBroken };

}  // namespace

struct TlsServer::Context {
  std::unique_ptr<SSL_CTX, ContextDeleter> ssl;
};

// One client. Lives in the loop's thread, held by its watches and its timer.
class TlsServer::Connection : public std::enable_shared_from_this<TlsServer::Connection> {
 public:
  Connection(EventLoop& loop, std::atomic<size_t>& count, SSL* ssl, UniqueFd net, UniqueFd plain)
      : loop_(loop), count_(count), ssl_(ssl), net_(std::move(net)), plain_(std::move(plain)) {}
  ~Connection() { --count_; }

  void Begin() {
    auto self = shared_from_this();
    Result<> net = loop_.Watch(net_, EPOLLIN, [self](uint32_t events) { self->OnNet(events); });
    Result<> plain = loop_.Watch(plain_, 0, [self](uint32_t events) { self->OnPlain(events); });
    if (!net.ok() || !plain.ok()) return End();
    bound_ = loop_.After(kHandshakeBound, [self] {
      if (!self->shaken_) self->End();
    });
    Pump();
  }

 private:
  void OnNet(uint32_t events) {
    if (events & EPOLLERR) return End();
    net_hung_up_ = net_hung_up_ || (events & EPOLLHUP) != 0;
    if (leftovers_) {
      if (!leftovers_->Drop(net_)) End();
      return;
    }
    Pump();
  }
  void OnPlain(uint32_t events) {
    if (events & EPOLLERR) return End();
    plain_hung_up_ = plain_hung_up_ || (events & EPOLLHUP) != 0;
    // The server has given up, and a hang-up is reported for ever.
    if (plain_hung_up_ && !shaken_) return End();
    Pump();
  }

  void Pump() {
    if (ended_) return;
    if (!shaken_ && !Handshake()) return;
    // The server has closed its end: what the client still sends has nowhere to go.
    if (plain_hung_up_) in_.begin = in_.end = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (Step step : {FillIn(), DrainIn(), FillOut(), DrainOut()}) {
        if (step == Step::kBroken) return End();
        moved = moved || step == Step::kMoved;
      }
    }
    if (in_.source_ended && in_.empty() && !in_.ended) {
      in_.ended = true;
      (void)::shutdown(plain_.get(), SHUT_WR);
    }
    bool no_more_out = out_.source_ended && out_.empty();
    if (no_more_out && !out_.ended) {
      out_.ended = true;
      (void)::SSL_shutdown(ssl_.get());
      (void)::shutdown(net_.get(), SHUT_WR);
    }
    if (net_hung_up_ || (out_.ended && in_.ended)) return End();
    if (out_.ended && plain_hung_up_) return Linger();
    UpdateWatches();
  }

  bool Handshake() {
    ::ERR_clear_error();
    int done = ::SSL_accept(ssl_.get());
    if (done == 1) {
      shaken_ = true;
      loop_.CancelTimer(bound_);
      return true;
    }
    int why = ::SSL_get_error(ssl_.get(), done);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
      if (net_hung_up_) {
        End();
        return false;
      }
      Watch(net_, why == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN, &net_events_);
      return false;
    }
    if (ERR_GET_REASON(::ERR_peek_last_error()) == SSL_R_HTTP_REQUEST) {
      (void)::send(net_.get(), kPlainHttp.data(), kPlainHttp.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    log::Debug("TLS handshake: {}", OpensslError());
    Linger();
    return false;
  }

  // The last words have been said: an answer, or the alert that tells why a handshake failed. In
  // TLS 1.3 a client may send its request before it gets that.
  void Linger() {
    leftovers_.emplace(net_);
    if (!std::exchange(plain_gone_, true)) loop_.Unwatch(plain_);
    plain_.Reset();
    loop_.CancelTimer(bound_);
    bound_ = loop_.After(kLingerSilence, [self = shared_from_this()] { self->End(); });
    Watch(net_, EPOLLIN, &net_events_);
  }

  // Each moves one buffer at most, without blocking.
  Step FillIn() {
    net_wants_write_ = false;
    if (!in_.wants_input()) return Step::kBlocked;
    ::ERR_clear_error();
    int count = ::SSL_read(ssl_.get(), in_.bytes.data(), static_cast<int>(in_.bytes.size()));
    if (count > 0) {
      in_.begin = 0;
      in_.end = static_cast<size_t>(count);
      return Step::kMoved;
    }
    switch (::SSL_get_error(ssl_.get(), count)) {
      case SSL_ERROR_WANT_READ:
        return Step::kBlocked;
      case SSL_ERROR_WANT_WRITE:
        net_wants_write_ = true;
        return Step::kBlocked;
      case SSL_ERROR_ZERO_RETURN:
        in_.source_ended = true;
        return Step::kMoved;
      default:
        // Also an end without close_notify: the stream may be cut, so it is not an end.
        return Step::kBroken;
    }
  }
  Step DrainIn() {
    if (in_.empty()) return Step::kBlocked;
    ssize_t count = ::send(plain_.get(), in_.bytes.data() + in_.begin, in_.end - in_.begin,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR ? Step::kBlocked : Step::kBroken;
    in_.begin += static_cast<size_t>(count);
    return Step::kMoved;
  }
  Step FillOut() {
    if (!out_.wants_input()) return Step::kBlocked;
    ssize_t count = ::recv(plain_.get(), out_.bytes.data(), out_.bytes.size(), MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR ? Step::kBlocked : Step::kBroken;
    out_.begin = 0;
    out_.end = static_cast<size_t>(count);
    out_.source_ended = count == 0;
    return Step::kMoved;
  }
  Step DrainOut() {
    if (out_.empty()) return Step::kBlocked;
    ::ERR_clear_error();
    int count = ::SSL_write(ssl_.get(), out_.bytes.data() + out_.begin,
                            static_cast<int>(out_.end - out_.begin));
    if (count > 0) {
      out_.begin += static_cast<size_t>(count);
      return Step::kMoved;
    }
    int why = ::SSL_get_error(ssl_.get(), count);
    if (why == SSL_ERROR_WANT_WRITE) net_wants_write_ = true;
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? Step::kBlocked
                                                                     : Step::kBroken;
  }

  void UpdateWatches() {
    uint32_t net = (in_.wants_input() ? uint32_t{EPOLLIN} : 0u) |
                   (net_wants_write_ || !out_.empty() ? uint32_t{EPOLLOUT} : 0u);
    uint32_t plain =
        (out_.wants_input() ? uint32_t{EPOLLIN} : 0u) | (in_.empty() ? 0u : uint32_t{EPOLLOUT});
    Watch(net_, net, &net_events_);
    // A hang-up is reported for ever, whatever is asked for.
    if (plain_hung_up_ && !plain_gone_) {
      plain_gone_ = true;
      loop_.Unwatch(plain_);
    }
    if (!plain_gone_) Watch(plain_, plain, &plain_events_);
  }
  void Watch(const UniqueFd& fd, uint32_t events, uint32_t* present) {
    if (*present == events) return;
    *present = events;
    (void)loop_.SetEvents(fd, events);
  }

  void End() {
    if (std::exchange(ended_, true)) return;
    auto self = shared_from_this();
    loop_.CancelTimer(bound_);
    loop_.Unwatch(net_);
    if (!plain_gone_) loop_.Unwatch(plain_);
    net_.Reset();
    plain_.Reset();
  }

  EventLoop& loop_;
  std::atomic<size_t>& count_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
  UniqueFd net_;
  UniqueFd plain_;
  EventLoop::TimerId bound_ = 0;
  Flow in_;   // from the client to the server
  Flow out_;  // back
  uint32_t net_events_ = EPOLLIN;
  uint32_t plain_events_ = 0;
  bool shaken_ = false;
  bool net_wants_write_ = false;
  bool net_hung_up_ = false;
  bool plain_hung_up_ = false;
  bool plain_gone_ = false;  // not watched any more
  bool ended_ = false;
  std::optional<Leftovers> leftovers_;
};

Result<std::unique_ptr<TlsServer>> TlsServer::Create(const TlsServerOptions& options) {
  auto context = std::make_unique<Context>();
  context->ssl.reset(::SSL_CTX_new(::TLS_server_method()));
  SSL_CTX* ssl = context->ssl.get();
  CHECK(ssl != nullptr);
  (void)::SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
  (void)::SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  (void)::SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  if (::SSL_CTX_use_certificate_chain_file(ssl, options.certificate.c_str()) != 1) {
    return InvalidArgument("could not load X509 certificate '{}': {}", options.certificate,
                           OpensslError());
  }
  if (::SSL_CTX_use_PrivateKey_file(ssl, options.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return InvalidArgument("could not load X509 key '{}' of certificate '{}': {}", options.key,
                           options.certificate, OpensslError());
  }
  if (!options.authority.empty()) {
    if (::SSL_CTX_load_verify_file(ssl, options.authority.c_str()) != 1) {
      return InvalidArgument("could not read CA certificate \"{}\": {}", options.authority,
                             OpensslError());
    }
    ::SSL_CTX_set_client_CA_list(ssl, ::SSL_load_client_CA_file(options.authority.c_str()));
    ::SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  // Sessions would be kept in memory for nothing: clients keep their connections.
  (void)::SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  auto thread = TRY(LoopThread::Start());
  return std::unique_ptr<TlsServer>(new TlsServer(std::move(context), std::move(thread)));
}

TlsServer::TlsServer(std::unique_ptr<Context> context, std::unique_ptr<LoopThread> thread)
    : context_(std::move(context)), thread_(std::move(thread)) {}

TlsServer::~TlsServer() = default;

Result<UniqueFd> TlsServer::Wrap(UniqueFd socket) {
  if (connections_.fetch_add(1) >= kMaxTlsConnections) {
    --connections_;
    return MakeError(ErrorKind::kResourceExhausted, "too many TLS connections");
  }
  int pair[2];
  SSL* ssl = nullptr;
  bool made = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0;
  if (made) ssl = ::SSL_new(context_->ssl.get());
  if (ssl == nullptr || ::SSL_set_fd(ssl, socket.get()) != 1) {
    --connections_;
    if (made) {
      ::close(pair[0]);
      ::close(pair[1]);
    }
    ::SSL_free(ssl);
    return MakeError(ErrorKind::kResourceExhausted, "making a TLS connection");
  }
  UniqueFd server(pair[0]);
  auto connection = std::make_shared<Connection>(thread_->loop(), connections_, ssl,
                                                 std::move(socket), UniqueFd(pair[1]));
  thread_->loop().Post([connection] { connection->Begin(); });
  return server;
}

}  // namespace gantry::wire
