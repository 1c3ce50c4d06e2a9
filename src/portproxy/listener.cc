// SPDX-License-Identifier: Apache-2.0
#include "portproxy/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
// After it: both define the same structures otherwise.
#include <linux/sctp.h>

#include <cstring>

namespace gantry::portproxy {
namespace {

constexpr int kBacklog = 4096;  // the kernel cuts it to somaxconn
// On how many streams either side may send; who has more than that can't be led on.
constexpr uint16_t kSctpStreams = 256;

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

Result<UniqueFd> OpenSocket(Transport transport, int family) {
  int type = transport == Transport::kUdp ? SOCK_DGRAM : SOCK_STREAM;
  int protocol = transport == Transport::kSctp ? IPPROTO_SCTP : 0;
  UniqueFd socket(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!socket.valid()) return ErrnoError("opening a socket");
  if (transport == Transport::kSctp) {
    sctp_initmsg initial{};
    initial.sinit_num_ostreams = kSctpStreams;
    if (::setsockopt(socket.get(), IPPROTO_SCTP, SCTP_INITMSG, &initial, sizeof initial) < 0) {
      return ErrnoError("setting up a socket");
    }
  }
  return socket;
}

Result<UniqueFd> BindSocket(Transport transport, const SocketAddress& address) {
  int family = address.storage.ss_family;
  UniqueFd socket = TRY(OpenSocket(transport, family));
  if (family == AF_INET6) TRY(Enable(socket, IPPROTO_IPV6, IPV6_V6ONLY));
  if (transport != Transport::kUdp) {
    // Connections that are still closing must not keep the port.
    TRY(Enable(socket, SOL_SOCKET, SO_REUSEADDR));
  } else if (family == AF_INET6) {
    TRY(Enable(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO));
  } else {
    TRY(Enable(socket, IPPROTO_IP, IP_PKTINFO));
  }
  if (::bind(socket.get(), address.get(), address.size) < 0) return ErrnoError("bind");
  if (transport != Transport::kUdp && ::listen(socket.get(), kBacklog) < 0) {
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
