// SPDX-License-Identifier: Apache-2.0
#include "logs/connection.h"

#include <linux/sockios.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/stop_token.h"

namespace gantry::logs {
namespace {

// How often a stream is asked whether its bytes have arrived; there is no event for it.
constexpr std::chrono::milliseconds kSettleStep{1};

Error TlsError(const std::string& what) {
  char text[256] = "the connection ended";
  if (unsigned long code = ::ERR_get_error(); code != 0)
    ERR_error_string_n(code, text, sizeof text);
  ::ERR_clear_error();
  return Unavailable("{}: {}", what, text);
}

Result<> ConnectTo(BorrowedFd socket, const sockaddr* address, socklen_t size,
                   const std::string& name) {
  if (::connect(socket.get(), address, size) == 0) return {};
  if (errno != EINPROGRESS) return ErrnoError("connecting to '{}'", name);
  TRY_WITH(WaitFor(socket, POLLOUT, kServerBound), "connecting to '{}'", name);
  int error = 0;
  socklen_t error_size = sizeof error;
  (void)::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
  if (error != 0) return ErrnoErrorOf(error, fmt::format("connecting to '{}'", name));
  return {};
}

Result<UniqueFd> DialUnix(const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("socket '{}' has a path longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoError("making a socket");
  TRY(ConnectTo(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address, path));
  return socket;
}

Result<UniqueFd> DialInternet(const ServerAddress& address, int type) {
  std::string name = fmt::format("{}:{}", address.host, address.port);
  addrinfo hints{};
  hints.ai_socktype = type;
  addrinfo* found = nullptr;
  int failed = ::getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found);
  if (failed != 0) return Unavailable("looking up '{}': {}", name, ::gai_strerror(failed));
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  Result<UniqueFd> last = Unavailable("'{}' has no address", name);
  for (addrinfo* each = found; each != nullptr; each = each->ai_next) {
    UniqueFd socket(::socket(each->ai_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) return ErrnoError("making a socket");
    Result<> connected = ConnectTo(socket, each->ai_addr, each->ai_addrlen, name);
    if (connected.ok()) return socket;
    last = std::move(connected).error();
  }
  return last;
}

}  // namespace

struct Connection::Tls {
  ~Tls() {
    ::SSL_free(session);
    ::SSL_CTX_free(context);
  }
  SSL_CTX* context = nullptr;
  SSL* session = nullptr;
};

Connection::Connection(UniqueFd socket, bool is_stream)
    : socket_(std::move(socket)), is_stream_(is_stream) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Result<Connection> Connection::Dial(const ServerAddress& address, const TlsFiles& files) {
  const std::string& protocol = address.protocol;
  if (protocol == "unix") {
    // docker's "unix" is a stream, or a datagram socket where the server has one.
    Result<UniqueFd> stream = DialUnix(address.path, SOCK_STREAM);
    if (stream.ok()) return Connection(*std::move(stream), true);
    if (stream.error().error_number() != EPROTOTYPE) return std::move(stream).error();
  }
  if (protocol == "unix" || protocol == "unixgram") {
    return Connection(TRY(DialUnix(address.path, SOCK_DGRAM)), false);
  }
  bool datagrams = protocol == "udp";
  Connection connection(TRY(DialInternet(address, datagrams ? SOCK_DGRAM : SOCK_STREAM)),
                        !datagrams);
  connection.is_internet_ = true;
  if (protocol == "tcp+tls") TRY(connection.StartTls(address.host, files));
  return connection;
}

Result<> Connection::StartTls(const std::string& host, const TlsFiles& files) {
  tls_ = std::make_unique<Tls>();
  tls_->context = ::SSL_CTX_new(::TLS_client_method());
  CHECK(tls_->context != nullptr);
  SSL_CTX* context = tls_->context;
  if (files.authority.empty()) {
    (void)::SSL_CTX_set_default_verify_paths(context);
  } else if (::SSL_CTX_load_verify_locations(context, files.authority.c_str(), nullptr) != 1) {
    return TlsError(fmt::format("could not read CA certificate \"{}\"", files.authority));
  }
  if (!files.certificate.empty() &&
      (::SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1 ||
       ::SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1)) {
    return TlsError(fmt::format("reading certificate '{}'", files.certificate));
  }
  ::SSL_CTX_set_verify(context, files.skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  SSL* session = tls_->session = ::SSL_new(context);
  CHECK(session != nullptr);
  (void)SSL_set_tlsext_host_name(session, host.c_str());
  // A name, or an address: whichever the certificate has.
  if (X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(session), host.c_str()) != 1) {
    (void)::SSL_set1_host(session, host.c_str());
  }
  ::ERR_clear_error();
  CHECK(::SSL_set_fd(session, socket_.get()) == 1);
  for (;;) {
    int done = ::SSL_connect(session);
    if (done == 1) return {};
    int wanted = ::SSL_get_error(session, done);
    if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) {
      return TlsError(fmt::format("TLS with '{}'", host));
    }
    TRY(WaitFor(socket_, wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, kServerBound));
  }
}

Result<> Connection::SendTls(std::string_view data) {
  while (!data.empty()) {
    size_t sent = 0;
    int done = ::SSL_write_ex(tls_->session, data.data(), data.size(), &sent);
    if (done == 1) {
      data.remove_prefix(sent);
      continue;
    }
    int wanted = ::SSL_get_error(tls_->session, done);
    if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) return TlsError("sending");
    TRY(WaitFor(socket_, wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, kServerBound));
  }
  return {};
}

// A server that has hung up would still let bytes be written, into nothing.
Result<> Connection::CheckAlive() {
  pollfd waiting{socket_.get(), POLLRDHUP, 0};
  if (::poll(&waiting, 1, 0) > 0 && (waiting.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
    int error = 0;
    socklen_t size = sizeof error;
    (void)::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return ErrnoErrorOf(error, "talking to the log server");
    if (is_stream_) return Unavailable("the log server has hung up");
  }
  return {};
}

Result<> Connection::Send(std::string_view data) {
  TRY(CheckAlive());
  if (tls_) return SendTls(data);
  for (;;) {
    ssize_t sent = ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      data.remove_prefix(static_cast<size_t>(sent));
      if (data.empty() || !is_stream_) return {};
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      TRY_WITH(WaitFor(socket_, POLLOUT, kServerBound), "the log server takes nothing");
    } else if (errno != EINTR) {
      return ErrnoError("sending to the log server");
    }
  }
}

Result<> Connection::Settle() {
  auto deadline = SteadyClock::now() + kServerBound;
  for (;;) {
    TRY(CheckAlive());
    int unsent = 0;
    // A local stream has delivered what it has taken.
    if (!is_stream_ || !is_internet_ || ::ioctl(socket_.get(), SIOCOUTQ, &unsent) < 0 ||
        unsent == 0) {
      return {};
    }
    if (SteadyClock::now() > deadline) {
      return Unavailable("the log server's host has not taken {} bytes", unsent);
    }
    // The hang-up ends the wait early.
    (void)WaitFor(socket_, POLLRDHUP, kSettleStep);
  }
}

Result<std::string> Connection::Receive() {
  char buffer[4096];
  for (;;) {
    ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (got >= 0) return std::string(buffer, static_cast<size_t>(got));
    if (errno == EAGAIN) {
      TRY_WITH(WaitFor(socket_, POLLIN, kServerBound), "the log server does not answer");
    } else if (errno != EINTR) {
      return ErrnoError("receiving from the log server");
    }
  }
}

}  // namespace gantry::logs
