// SPDX-License-Identifier: Apache-2.0
//
// The proxy's control socket (docs/port-proxy.md): reads requests, asks the port table, answers in
// order. Any number of clients; each is root, since the socket is 0600. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "portproxy/port_table.h"

namespace gantry::portproxy {

// A listening unix stream socket at `path`, in place of whatever socket is there.
Result<UniqueFd> ListenOnControlSocket(const std::string& path);

class ControlServer {
 public:
  static Result<std::unique_ptr<ControlServer>> Create(EventLoop* loop, UniqueFd listener,
                                                       PortTable* ports);
  ~ControlServer();

 private:
  struct Client {
    UniqueFd fd;
    std::string input;
    std::string output;
    bool stop_after_output = false;
  };

  ControlServer(EventLoop* loop, UniqueFd listener, PortTable* ports)
      : loop_(loop), listener_(std::move(listener)), ports_(ports) {}
  void Accept();
  void OnClient(int fd, uint32_t events);
  Result<> Serve(Client* client, uint32_t events);
  Result<> Answer(Client* client, std::string_view body);

  EventLoop* loop_;
  UniqueFd listener_;
  PortTable* ports_;
  std::map<int, Client> clients_;
};

}  // namespace gantry::portproxy
