// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/listeners.h"

#include <sys/socket.h>

#include <utility>

#include "base/log.h"
#include "cmd/gantryd/socket_holder.h"
#include "wire/listener.h"
#include "wire/socket_activation.h"

namespace gantry::gantryd {
namespace {

class Opener {
 public:
  Opener(const Options& options, wire::HttpServer* server) : options_(options), server_(server) {}

  Result<> PrepareTls() {
    const TlsFiles& files = options_.tls;
    if (!files.enabled) return {};
    wire::TlsServerOptions tls{files.certificate, files.key, files.authority};
    out_.tls = TRY(wire::TlsServer::Create(tls));
    return {};
  }

  Result<> Open(const std::string& host) {
    if (host.starts_with("unix://")) {
      out_.own_paths.push_back(host.substr(7));
      return server_->Listen(host, options_.group);
    }
    if (host.starts_with("tcp://")) {
      return AdoptTcp(TRY(wire::OpenListener(host, "")), host);
    }
    for (UniqueFd& socket : TRY(wire::TakeActivatedSockets(host.substr(5)))) {
      int family = 0;
      socklen_t size = sizeof family;
      if (::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &size) < 0) {
        return ErrnoError("looking at a socket of the service manager");
      }
      if (family == AF_UNIX) {
        TRY(server_->Adopt(std::move(socket)));
      } else {
        TRY(AdoptTcp(std::move(socket), host));
      }
    }
    return {};
  }

  Result<> OpenDockerSocket(const std::string& program) {
    HeldSocket held{options_.docker_socket, options_.group, options_.state};
    return server_->Adopt(TRY(TakeHeldSocket(held, program)));
  }

  Listeners Take() { return std::move(out_); }

 private:
  Result<> AdoptTcp(UniqueFd socket, const std::string& host) {
    if (!options_.tls.verify) {
      log::Warning(
          "[!] {}: binding to an IP address without --tlsverify is insecure and gives root access "
          "on this machine to everyone who has access to your network",
          host);
    }
    if (out_.tls == nullptr) {
      out_.open_hosts.push_back(host);
      return server_->Adopt(std::move(socket));
    }
    return server_->Adopt(std::move(socket), [tls = out_.tls.get()](UniqueFd accepted) {
      return tls->Wrap(std::move(accepted));
    });
  }

  const Options& options_;
  wire::HttpServer* const server_;
  Listeners out_;
};

}  // namespace

Result<Listeners> OpenListeners(const Options& options, const std::string& program,
                                wire::HttpServer* server) {
  Opener opener(options, server);
  TRY(opener.PrepareTls());
  for (const std::string& host : options.hosts) {
    TRY_WITH(opener.Open(host), "serving on {}", host);
    log::Info("serving on {}", host);
  }
  if (!options.docker_socket.empty()) {
    TRY_WITH(opener.OpenDockerSocket(program), "serving on '{}'", options.docker_socket);
    log::Info("serving on {}", options.docker_socket);
  }
  return opener.Take();
}

}  // namespace gantry::gantryd
