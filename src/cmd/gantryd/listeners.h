// SPDX-License-Identifier: Apache-2.0
//
// Opens everything that -H and --docker-socket name. One thread, at start.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cmd/gantryd/options.h"
#include "wire/http_server.h"
#include "wire/tls.h"

namespace gantry::gantryd {

struct Listeners {
  struct Socket {
    UniqueFd fd;
    wire::HttpServer::Wrapper wrap;
  };
  std::vector<Socket> sockets;           // for HttpServer::Adopt
  std::unique_ptr<wire::TlsServer> tls;  // null without --tls; outlives the server
  // What is reached without TLS, "tcp://HOST:PORT".
  std::vector<std::string> open_hosts;
  // Unix sockets that are removed when the daemon stops.
  std::vector<std::string> own_paths;
};

// The group that `options` gives the unix sockets, as OpenListeners takes it. The usual one need
// not be there, another one must (kNotFound).
Result<std::string> SocketGroup(const Options& options);

// `program` is this one: the docker socket's holder is started from it.
Result<Listeners> OpenListeners(const Options& options, const std::string& group,
                                const std::string& program);

}  // namespace gantry::gantryd
