// SPDX-License-Identifier: Apache-2.0
#include "portproxy/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace gantry::portproxy {
namespace {

constexpr int kBacklog = 4096;  // the kernel cuts it to somaxconn

Result<> Enable(BorrowedFd socket, int level, int option) {
  int one = 1;
  if (::setsockopt(socket.get(), level, option, &one, sizeof one) < 0) {
    return ErrnoError("setting up a listening socket");
  }
  return {};
}

}  // namespace

Result<SocketAddress> SocketAddress::Of(const std::string& address, uint16_t port) {
  SocketAddress result;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    result.size = sizeof *v4;
    return result;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    result.size = sizeof *v6;
    return result;
  }
  return InvalidArgument("invalid IP address '{}'", address);
}

uint16_t SocketAddress::port() const {
  // The port is at the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

Result<UniqueFd> BindSocket(Transport transport, const SocketAddress& address) {
  int type = transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM;
  int family = address.storage.ss_family;
  UniqueFd socket(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoError("opening a socket");
  if (family == AF_INET6) TRY(Enable(socket, IPPROTO_IPV6, IPV6_V6ONLY));
  if (transport == Transport::kTcp) {
    // Connections that are still closing must not keep the port.
    TRY(Enable(socket, SOL_SOCKET, SO_REUSEADDR));
  } else if (family == AF_INET6) {
    TRY(Enable(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO));
  } else {
    TRY(Enable(socket, IPPROTO_IP, IP_PKTINFO));
  }
  if (::bind(socket.get(), address.get(), address.size) < 0) return ErrnoError("bind");
  if (transport == Transport::kTcp && ::listen(socket.get(), kBacklog) < 0) {
    return ErrnoError("listen");
  }
  return socket;
}

Result<uint16_t> BoundPort(BorrowedFd socket) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.size) <
      0) {
    return ErrnoError("reading a socket's port");
  }
  return address.port();
}

}  // namespace gantry::portproxy
