// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/tls_tunnel.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"

namespace gantry::cli {
namespace {

// What of libssl.so.3 and libcrypto.so.3 is used; named as there.
struct Library {
  decltype(&::ERR_error_string_n) ERR_error_string_n;
  decltype(&::ERR_get_error) ERR_get_error;
  decltype(&::SSL_CTX_ctrl) SSL_CTX_ctrl;
  decltype(&::SSL_CTX_free) SSL_CTX_free;
  decltype(&::SSL_CTX_load_verify_file) SSL_CTX_load_verify_file;
  decltype(&::SSL_CTX_new) SSL_CTX_new;
  decltype(&::SSL_CTX_set_default_verify_paths) SSL_CTX_set_default_verify_paths;
  decltype(&::SSL_CTX_set_verify) SSL_CTX_set_verify;
  decltype(&::SSL_CTX_use_PrivateKey_file) SSL_CTX_use_PrivateKey_file;
  decltype(&::SSL_CTX_use_certificate_chain_file) SSL_CTX_use_certificate_chain_file;
  decltype(&::SSL_connect) SSL_connect;
  decltype(&::SSL_ctrl) SSL_ctrl;
  decltype(&::SSL_free) SSL_free;
  decltype(&::SSL_get0_param) SSL_get0_param;
  decltype(&::SSL_get_error) SSL_get_error;
  decltype(&::SSL_get_verify_result) SSL_get_verify_result;
  decltype(&::SSL_new) SSL_new;
  decltype(&::SSL_read) SSL_read;
  decltype(&::SSL_set1_host) SSL_set1_host;
  decltype(&::SSL_set_fd) SSL_set_fd;
  decltype(&::SSL_shutdown) SSL_shutdown;
  decltype(&::SSL_write) SSL_write;
  decltype(&::TLS_client_method) TLS_client_method;
  decltype(&::X509_VERIFY_PARAM_set1_ip_asc) X509_VERIFY_PARAM_set1_ip_asc;
  decltype(&::X509_verify_cert_error_string) X509_verify_cert_error_string;
};

Result<const Library*> LoadLibrary() {
  static Library library;
  static bool loaded = false;
  if (loaded) return &library;
  // It brings libcrypto along, whose symbols are found through the same handle.
  void* handle = ::dlopen("libssl.so.3", RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) return FailedPrecondition("TLS needs OpenSSL 3: {}", ::dlerror());
  bool missing = false;
  auto take = [&](auto* function, const char* name) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(::dlsym(handle, name));
    missing = missing || *function == nullptr;
  };
#define GANTRY_TAKE(name) take(&library.name, #name)
  GANTRY_TAKE(ERR_error_string_n);
  GANTRY_TAKE(ERR_get_error);
  GANTRY_TAKE(SSL_CTX_ctrl);
  GANTRY_TAKE(SSL_CTX_free);
  GANTRY_TAKE(SSL_CTX_load_verify_file);
  GANTRY_TAKE(SSL_CTX_new);
  GANTRY_TAKE(SSL_CTX_set_default_verify_paths);
  GANTRY_TAKE(SSL_CTX_set_verify);
  GANTRY_TAKE(SSL_CTX_use_PrivateKey_file);
  GANTRY_TAKE(SSL_CTX_use_certificate_chain_file);
  GANTRY_TAKE(SSL_connect);
  GANTRY_TAKE(SSL_ctrl);
  GANTRY_TAKE(SSL_free);
  GANTRY_TAKE(SSL_get0_param);
  GANTRY_TAKE(SSL_get_error);
  GANTRY_TAKE(SSL_get_verify_result);
  GANTRY_TAKE(SSL_new);
  GANTRY_TAKE(SSL_read);
  GANTRY_TAKE(SSL_set1_host);
  GANTRY_TAKE(SSL_set_fd);
  GANTRY_TAKE(SSL_shutdown);
  GANTRY_TAKE(SSL_write);
  GANTRY_TAKE(TLS_client_method);
  GANTRY_TAKE(X509_VERIFY_PARAM_set1_ip_asc);
  GANTRY_TAKE(X509_verify_cert_error_string);
#undef GANTRY_TAKE
  if (missing) return FailedPrecondition("TLS needs OpenSSL 3: a function is missing in libssl");
  loaded = true;
  return &library;
}

// Told by a tunnel's thread, read by the program's.
struct Failure {
  Mutex mutex;
  std::string text GUARDED_BY(mutex);
};
Failure& LastFailure() {
  static Failure failure;
  return failure;
}

constexpr size_t kPieceBytes = 16 * 1024;  // the largest TLS record

std::string LastError(const Library& library) {
  unsigned long code = library.ERR_get_error();
  if (code == 0) return "the connection was closed";
  char text[256];
  library.ERR_error_string_n(code, text, sizeof text);
  return text;
}

// Owns the connection's state; handed to the thread after the handshake.
class Tunnel {
 public:
  explicit Tunnel(const Library* library) : library_(*library) {}
  ~Tunnel() {
    if (ssl_ != nullptr) library_.SSL_free(ssl_);
    if (context_ != nullptr) library_.SSL_CTX_free(context_);
  }
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;

  Result<> Handshake(UniqueFd socket, const std::string& host, const TlsSettings& settings);
  // Carries bytes until both directions have ended.
  void Run(UniqueFd plain);

 private:
  Result<> LoadFiles(const TlsSettings& settings);
  Result<> ExpectName(const std::string& host);
  bool PlainToTls();
  bool TlsToPlain();

  const Library& library_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  UniqueFd socket_;
  UniqueFd plain_;
  std::vector<char> up_, down_;  // on their way to the server, to the caller
  size_t up_sent_ = 0, down_sent_ = 0;
  bool up_ended_ = false, down_ended_ = false;
  short ssl_wants_ = POLLIN;
};

Result<> Tunnel::LoadFiles(const TlsSettings& settings) {
  if (settings.verify) {
    int loaded = settings.ca.empty()
                     ? library_.SSL_CTX_set_default_verify_paths(context_)
                     : library_.SSL_CTX_load_verify_file(context_, settings.ca.c_str());
    if (loaded != 1) {
      return InvalidArgument("could not read CA certificate \"{}\": {}", settings.ca,
                             LastError(library_));
    }
    library_.SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  }
  if (settings.certificate.empty() && settings.key.empty()) return {};
  const char* certificate = settings.certificate.c_str();
  if (library_.SSL_CTX_use_certificate_chain_file(context_, certificate) != 1 ||
      library_.SSL_CTX_use_PrivateKey_file(context_, settings.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return InvalidArgument("could not load X509 key pair '{}', '{}': {}", settings.certificate,
                           settings.key, LastError(library_));
  }
  return {};
}

Result<> Tunnel::ExpectName(const std::string& host) {
  unsigned char address[16];
  bool is_address = ::inet_pton(AF_INET, host.c_str(), address) == 1 ||
                    ::inet_pton(AF_INET6, host.c_str(), address) == 1;
  int set = 1;
  if (is_address) {
    set = library_.X509_VERIFY_PARAM_set1_ip_asc(library_.SSL_get0_param(ssl_), host.c_str());
  } else {
    // SSL_set_tlsext_host_name(), a macro around this.
    library_.SSL_ctrl(ssl_, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                      const_cast<char*>(host.c_str()));
    set = library_.SSL_set1_host(ssl_, host.c_str());
  }
  return set == 1 ? Result<>() : Internal("setting the name '{}' to expect", host);
}

Result<> Tunnel::Handshake(UniqueFd socket, const std::string& host, const TlsSettings& settings) {
  context_ = library_.SSL_CTX_new(library_.TLS_client_method());
  if (context_ == nullptr) return Internal("making a TLS context: {}", LastError(library_));
  library_.SSL_CTX_ctrl(context_, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, nullptr);
  TRY(LoadFiles(settings));
  ssl_ = library_.SSL_new(context_);
  if (ssl_ == nullptr) return Internal("making a TLS connection: {}", LastError(library_));
  if (settings.verify) TRY(ExpectName(host));
  socket_ = std::move(socket);
  library_.SSL_set_fd(ssl_, socket_.get());
  if (library_.SSL_connect(ssl_) == 1) return {};
  long verified = library_.SSL_get_verify_result(ssl_);
  if (verified != X509_V_OK) {
    return MakeError(ErrorKind::kPermissionDenied, "tls: failed to verify certificate: x509: {}",
                     library_.X509_verify_cert_error_string(verified));
  }
  return Unavailable("tls: {}", LastError(library_));
}

// Sends what is in up_. False: the connection is broken.
bool Tunnel::PlainToTls() {
  while (up_sent_ < up_.size()) {
    int done =
        library_.SSL_write(ssl_, up_.data() + up_sent_, static_cast<int>(up_.size() - up_sent_));
    if (done <= 0) {
      int reason = library_.SSL_get_error(ssl_, done);
      if (reason == SSL_ERROR_WANT_WRITE) ssl_wants_ |= POLLOUT;
      return reason == SSL_ERROR_WANT_WRITE || reason == SSL_ERROR_WANT_READ;
    }
    up_sent_ += static_cast<size_t>(done);
  }
  up_.clear();
  up_sent_ = 0;
  return true;
}

// Fills down_ when it is empty and gives it on. False: nobody listens any more.
bool Tunnel::TlsToPlain() {
  for (;;) {
    while (down_sent_ < down_.size()) {
      ssize_t done = ::send(plain_.get(), down_.data() + down_sent_, down_.size() - down_sent_,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
      if (done < 0) return errno == EAGAIN || errno == EINTR;
      down_sent_ += static_cast<size_t>(done);
    }
    down_.resize(kPieceBytes);
    down_sent_ = 0;
    int got = down_ended_ ? 0 : library_.SSL_read(ssl_, down_.data(), kPieceBytes);
    down_.resize(got > 0 ? static_cast<size_t>(got) : 0);
    if (got > 0) continue;
    if (down_ended_) return true;
    int reason = library_.SSL_get_error(ssl_, got);
    if (reason == SSL_ERROR_WANT_WRITE) ssl_wants_ |= POLLOUT;
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) return true;
    // close_notify, or a broken connection, which the caller sees as an early end.
    if (reason == SSL_ERROR_SSL) {
      Failure& failure = LastFailure();
      MutexLock lock(failure.mutex);
      failure.text = "tls: " + LastError(library_);
    }
    down_ended_ = true;
    ::shutdown(plain_.get(), SHUT_WR);
    return true;
  }
}

void Tunnel::Run(UniqueFd plain) {
  plain_ = std::move(plain);
  int flags = ::fcntl(socket_.get(), F_GETFL);
  ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
  while (!down_ended_ || !down_.empty()) {
    ssl_wants_ = POLLIN;
    if (!PlainToTls() || !TlsToPlain()) return;
    if (down_ended_) return;
    short plain_wants = 0;
    if (up_.empty() && !up_ended_) plain_wants |= POLLIN;
    if (!down_.empty()) plain_wants |= POLLOUT;
    pollfd wait[2] = {{socket_.get(), down_.empty() ? ssl_wants_ : short{0}, 0},
                      {plain_.get(), plain_wants, 0}};
    if (!up_.empty()) wait[0].events |= POLLOUT;
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return;
    if (plain_wants == 0 && (wait[1].revents & (POLLHUP | POLLERR)) != 0) return;
    if ((wait[1].revents & (POLLIN | POLLHUP)) == 0 || !up_.empty() || up_ended_) continue;
    up_.resize(kPieceBytes);
    ssize_t got = ::recv(plain_.get(), up_.data(), up_.size(), MSG_DONTWAIT);
    up_.resize(got > 0 ? static_cast<size_t>(got) : 0);
    if (got == 0) {
      up_ended_ = true;
      library_.SSL_shutdown(ssl_);  // sends close_notify: the server reads an end
    }
  }
}

}  // namespace

Result<wire::HttpConnection> ConnectTls(const wire::Endpoint& endpoint,
                                        const TlsSettings& settings) {
  const Library* library = TRY(LoadLibrary());
  UniqueFd socket = TRY(wire::HttpConnection::Connect(endpoint)).Hijack().socket;
  std::string host = endpoint.address.substr(0, endpoint.address.rfind(':'));
  if (host.size() > 1 && host.front() == '[') host = host.substr(1, host.size() - 2);
  auto tunnel = std::make_unique<Tunnel>(library);
  TRY(tunnel->Handshake(std::move(socket), host, settings));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    return ErrnoError("making a socket pair");
  }
  std::thread([tunnel = std::move(tunnel), plain = UniqueFd(ends[1])]() mutable {
    tunnel->Run(std::move(plain));
  }).detach();
  return wire::HttpConnection(UniqueFd(ends[0]));
}

std::string TlsFailure() {
  Failure& failure = LastFailure();
  MutexLock lock(failure.mutex);
  return failure.text;
}

}  // namespace gantry::cli
