// SPDX-License-Identifier: Apache-2.0
//
// One listening socket of a published port and everything that came in through it. Destroying a
// listener closes its socket and cuts its connections: the container behind it is gone. The port
// table owns them; all in the loop's thread.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace gantry::portproxy {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  // A literal IPv4 or IPv6 address.
  static Result<SocketAddress> Of(const std::string& address, uint16_t port);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  uint16_t port() const;
};

enum class Transport { kTcp, kUdp, kSctp };

// Not connected yet. errno EPROTONOSUPPORT: the kernel has no sctp.
Result<UniqueFd> OpenSocket(Transport transport, int family);
// A bound socket, listening unless udp; port 0 takes a free one. IPv6 sockets take IPv6 only.
Result<UniqueFd> BindSocket(Transport transport, const SocketAddress& address);
Result<uint16_t> BoundPort(BorrowedFd socket);

class Listener {
 public:
  virtual ~Listener() = default;
};

// Of tcp and sctp.
Result<std::unique_ptr<Listener>> MakeAcceptingListener(EventLoop* loop, Transport transport,
                                                        UniqueFd socket,
                                                        const SocketAddress& target);
Result<std::unique_ptr<Listener>> MakeUdpListener(EventLoop* loop, UniqueFd socket,
                                                  const SocketAddress& target);

}  // namespace gantry::portproxy
