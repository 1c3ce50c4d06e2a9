// SPDX-License-Identifier: Apache-2.0
//
// A connection to a log server: stream or datagram, plain or TLS. Every wait has a bound. One
// thread at a time.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "logs/options.h"

namespace gantry::logs {

// How long a server may take for a handshake, for making room, and for an answer.
inline constexpr std::chrono::seconds kServerBound{5};

struct TlsFiles {
  std::string authority;  // PEM files; "": the system's
  std::string certificate;
  std::string key;
  bool skip_verify = false;
};

class Connection {
 public:
  static Result<Connection> Dial(const ServerAddress& address, const TlsFiles& tls);
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  // All of it (a stream), or one datagram.
  Result<> Send(std::string_view data);
  // Some bytes, within kServerBound; "" at the server's end.
  Result<std::string> Receive();
  // Nothing sent is on its way any more: the server's host has taken all of it, and the server has
  // not hung up meanwhile. For a datagram: nobody has refused it yet.
  Result<> Settle();

 private:
  struct Tls;
  Connection(UniqueFd socket, bool is_stream);
  Result<> CheckAlive();
  Result<> StartTls(const std::string& host, const TlsFiles& files);
  Result<> SendTls(std::string_view data);

  UniqueFd socket_;
  bool is_stream_;
  bool is_internet_ = false;
  std::unique_ptr<Tls> tls_;
};

}  // namespace gantry::logs
