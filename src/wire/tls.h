// SPDX-License-Identifier: Apache-2.0
//
// TLS for a server's connections; with tls.cc the one wrapper of OpenSSL's protocol side. A
// connection is decrypted into one end of a socket pair, and the server gets the other end: nothing
// above knows of TLS, so hijacked streams, half-closes and splice(2) work as on a plain socket. All
// handshakes and connections live on one event loop and never block each other or a worker.
//
// Any thread may call Wrap.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "wire/loop_thread.h"

namespace gantry::wire {

struct TlsServerOptions {
  std::string certificate;  // PEM files; the chain in one
  std::string key;
  std::string authority;  // of clients' certificates; "": clients need none
};

class TlsServer {
 public:
  // Reads the files: kInvalidArgument names the one that is wrong.
  static Result<std::unique_ptr<TlsServer>> Create(const TlsServerOptions& options);
  ~TlsServer();

  // `socket` is an accepted connection, non-blocking. Returns the server's plain end at once; the
  // handshake goes on beside, and a client that fails it is a connection that hangs up.
  // kResourceExhausted beyond kMaxTlsConnections.
  Result<UniqueFd> Wrap(UniqueFd socket);

 private:
  class Connection;
  struct Context;
  TlsServer(std::unique_ptr<Context> context, std::unique_ptr<LoopThread> thread);

  const std::unique_ptr<Context> context_;
  std::atomic<size_t> connections_{0};
  std::unique_ptr<LoopThread> thread_;
};

inline constexpr size_t kMaxTlsConnections = 10'000;

}  // namespace gantry::wire
