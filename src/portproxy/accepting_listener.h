// SPDX-License-Identifier: Apache-2.0
//
// A listener of a protocol with connections: it accepts them and owns them. What a connection does
// is its protocol's matter (tcp_connection.cc, sctp_connection.cc). All in the loop's thread.
#pragma once

#include <functional>
#include <memory>

#include "portproxy/listener.h"

namespace gantry::portproxy {

// A client's connection, and the one to the container that it is led on to.
class Connection {
 public:
  virtual ~Connection() = default;  // cuts both
  // Begins to connect to the container. False: there is no way to it, for the client the port is
  // closed.
  virtual Result<bool> Start(const SocketAddress& target) = 0;
};

// `on_end` destroys the connection.
using MakeConnection = std::unique_ptr<Connection> (*)(EventLoop* loop, UniqueFd client,
                                                       UniqueFd target,
                                                       std::function<void()> on_end);
std::unique_ptr<Connection> MakeTcpConnection(EventLoop* loop, UniqueFd client, UniqueFd target,
                                              std::function<void()> on_end);
std::unique_ptr<Connection> MakeSctpConnection(EventLoop* loop, UniqueFd client, UniqueFd target,
                                               std::function<void()> on_end);

// False: it failed at once.
bool BeginConnect(BorrowedFd socket, const SocketAddress& target);
// Closing the socket will be a reset (tcp) or an ABORT (sctp): what a client sees of a closed port.
void EndByReset(BorrowedFd socket);

}  // namespace gantry::portproxy
