// SPDX-License-Identifier: Apache-2.0
//
// Where a daemon is and how one gets there: unix://PATH, tcp://HOST:PORT with or without TLS, and
// ssh://[USER@]HOST[:PORT], where the daemon's socket is reached through a command on that machine.
// One thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "wire/http_client.h"

namespace gantry::cli {

struct TlsSettings {
  bool enabled = false;
  bool verify = true;                // the server's certificate and name
  std::string ca, certificate, key;  // paths; empty: the system's, none
};

struct DaemonEndpoint {
  enum class Kind { kSocket, kTls, kSsh };
  Kind kind = Kind::kSocket;
  std::string url;          // for messages: "tcp://localhost:2375"
  wire::Endpoint endpoint;  // kSocket, kTls
  TlsSettings tls;

  Result<wire::HttpConnection> Connect() const;
};

inline constexpr std::string_view kDefaultHost = "unix:///run/gantry/gantry.sock";

// All that -H takes; "" is the default socket. "HOST", "HOST:PORT", ":PORT" and "/PATH" mean tcp.
Result<DaemonEndpoint> ParseEndpoint(std::string_view host, TlsSettings tls);

}  // namespace gantry::cli
