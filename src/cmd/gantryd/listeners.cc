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
  Opener(const Options& options, const std::string& group) : options_(options), group_(group) {}

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
      Add(TRY(wire::OpenListener(host, group_)));
      return {};
    }
    if (host.starts_with("tcp://")) {
      AddTcp(TRY(wire::OpenListener(host, "")), host);
      return {};
    }
    for (UniqueFd& socket : TRY(wire::TakeActivatedSockets(host.substr(5)))) {
      int family = 0;
      socklen_t size = sizeof family;
      if (::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &size) < 0) {
        return ErrnoError("looking at a socket of the service manager");
      }
      if (family == AF_UNIX) {
        Add(std::move(socket));
      } else {
        AddTcp(std::move(socket), host);
      }
    }
    return {};
  }

  Result<> OpenDockerSocket(const std::string& program) {
    HeldSocket held{options_.docker_socket, group_, options_.state};
    Add(TRY(TakeHeldSocket(held, program)));
    return {};
  }

  Listeners Take() { return std::move(out_); }

 private:
  void Add(UniqueFd socket, wire::HttpServer::Wrapper wrap = nullptr) {
    out_.sockets.push_back({std::move(socket), std::move(wrap)});
  }

  void AddTcp(UniqueFd socket, const std::string& host) {
    if (!options_.tls.verify) {
      log::Warning(
          "[!] {}: binding to an IP address without --tlsverify is insecure and gives root access "
          "on this machine to everyone who has access to your network",
          host);
    }
    if (out_.tls == nullptr) {
      out_.open_hosts.push_back(host);
      return Add(std::move(socket));
    }
    Add(std::move(socket),
        [tls = out_.tls.get()](UniqueFd accepted) { return tls->Wrap(std::move(accepted)); });
  }

  const Options& options_;
  const std::string& group_;
  Listeners out_;
};

}  // namespace

Result<std::string> SocketGroup(const Options& options) {
  Result<gid_t> found = wire::FindGroup(options.group);
  if (found.ok()) return options.group;
  if (options.group != kUsualGroup) return std::move(found).error();
  log::Warning("the unix sockets have no group: {}", found.error().message());
  return std::string();
}

Result<Listeners> OpenListeners(const Options& options, const std::string& group,
                                const std::string& program) {
  Opener opener(options, group);
  TRY(opener.PrepareTls());
  for (const std::string& host : options.hosts) {
    TRY_WITH(opener.Open(host), "serving on {}", host);
  }
  if (!options.docker_socket.empty()) {
    TRY_WITH(opener.OpenDockerSocket(program), "serving on '{}'", options.docker_socket);
  }
  return opener.Take();
}

}  // namespace gantry::gantryd
