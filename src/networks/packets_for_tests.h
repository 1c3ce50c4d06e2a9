// SPDX-License-Identifier: Apache-2.0
//
// Real packets between network namespaces, for controller_test.cc: who gets through to whom, and
// whom the other side sees.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/net_namespace.h"

namespace gantry::networks {

inline in_addr Address(const std::string& text) {
  in_addr address{};
  CHECK(::inet_pton(AF_INET, text.c_str(), &address) == 1);
  return address;
}

struct Where {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  static Where Of(const std::string& address, uint16_t port) {
    Where where;
    if (address.find(':') != std::string::npos) {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&where.storage);
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      CHECK(::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1);
      where.size = sizeof *v6;
    } else {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&where.storage);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      v4->sin_addr = Address(address);
      where.size = sizeof *v4;
    }
    return where;
  }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  std::string Host() const {
    char text[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr, text,
                sizeof text);
    return text;
  }
};

// A socket inside a namespace; an invalid descriptor is the host's.
inline UniqueFd SocketIn(BorrowedFd netns, int family, int type, int timeout_ms) {
  UniqueFd fd;
  auto open = [&]() -> Result<> {
    fd = UniqueFd(::socket(family, type | SOCK_CLOEXEC, 0));
    return {};
  };
  if (netns.valid()) {
    CHECK(kernel::RunInNetNamespace(netns, open).ok());
  } else {
    CHECK(open().ok());
  }
  timeval timeout{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  return fd;
}

inline UniqueFd Serve(BorrowedFd netns, int type, uint16_t port) {
  UniqueFd fd = SocketIn(netns, AF_INET, type, 3000);
  int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  Where any = Where::Of("0.0.0.0", port);
  CHECK(::bind(fd.get(), any.get(), any.size) == 0);
  if (type == SOCK_STREAM) CHECK(::listen(fd.get(), 64) == 0);
  return fd;
}

// Connects, says "ping", hears "pong" if `server` is there to say it. What the server saw as the
// client's address; "" when nothing came through.
inline std::string TcpPing(BorrowedFd from, const std::string& address, uint16_t port,
                           BorrowedFd server, int timeout_ms = 2000) {
  Where to = Where::Of(address, port);
  UniqueFd client = SocketIn(from, to.storage.ss_family, SOCK_STREAM, timeout_ms);
  if (::connect(client.get(), to.get(), to.size) < 0) return "";
  timeval timeout{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  ::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  Where peer;
  UniqueFd accepted(::accept4(server.get(), peer.get(), &peer.size, SOCK_CLOEXEC));
  if (!accepted.valid()) return "";
  char buffer[5] = "";
  if (::send(client.get(), "ping", 4, MSG_NOSIGNAL) != 4 ||
      ::recv(accepted.get(), buffer, 4, MSG_WAITALL) != 4 ||
      ::send(accepted.get(), "pong", 4, MSG_NOSIGNAL) != 4 ||
      ::recv(client.get(), buffer, 4, MSG_WAITALL) != 4) {
    return "";
  }
  // Half-close: the end of one direction arrives, the other still works.
  ::shutdown(client.get(), SHUT_WR);
  if (::recv(accepted.get(), buffer, 4, 0) != 0) return "no half-close";
  if (::send(accepted.get(), "last", 4, MSG_NOSIGNAL) != 4 ||
      ::recv(client.get(), buffer, 4, MSG_WAITALL) != 4) {
    return "half-closed too much";
  }
  return peer.Host();
}

inline std::string UdpPing(BorrowedFd from, const std::string& address, uint16_t port,
                           BorrowedFd server, int timeout_ms = 2000) {
  Where to = Where::Of(address, port);
  UniqueFd client = SocketIn(from, to.storage.ss_family, SOCK_DGRAM, timeout_ms);
  // Connected: an answer from another address than the one it was sent to is not heard.
  if (::connect(client.get(), to.get(), to.size) < 0) return "";
  if (::send(client.get(), "ping", 4, 0) != 4) return "";
  timeval timeout{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  ::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  Where peer;
  char buffer[16];
  if (::recvfrom(server.get(), buffer, sizeof buffer, 0, peer.get(), &peer.size) != 4) return "";
  if (::sendto(server.get(), "pong", 4, 0, peer.get(), peer.size) != 4) return "";
  if (::recv(client.get(), buffer, sizeof buffer, 0) != 4) return "no answer";
  return peer.Host();
}

}  // namespace gantry::networks
