// SPDX-License-Identifier: Apache-2.0
//
// The proxy's control socket (docs/port-proxy.md, docs/resolver.md): reads requests, asks the port
// table or the resolvers, answers in order. Any number of clients; each is root, since the socket
// is 0600. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "portproxy/port_table.h"
#include "portproxy/resolver.h"

namespace gantry::portproxy {

// A listening unix stream socket at `path`, in place of whatever socket is there.
Result<UniqueFd> ListenOnControlSocket(const std::string& path);

class ControlServer {
 public:
  static Result<std::unique_ptr<ControlServer>> Create(EventLoop* loop, UniqueFd listener,
                                                       PortTable* ports, ResolverTable* resolvers);
  ~ControlServer();

 private:
  struct Client {
    UniqueFd fd;
    std::string input;
    std::string output;
    std::vector<UniqueFd> descriptors;  // came with what is in `input`
    bool stop_after_output = false;
  };

  ControlServer(EventLoop* loop, UniqueFd listener, PortTable* ports, ResolverTable* resolvers)
      : loop_(loop), listener_(std::move(listener)), ports_(ports), resolvers_(resolvers) {}
  static Result<size_t> Receive(Client* client);
  void Accept();
  void OnClient(int fd, uint32_t events);
  Result<> Serve(Client* client, uint32_t events);
  Result<> Answer(Client* client, std::string_view body);

  EventLoop* loop_;
  UniqueFd listener_;
  PortTable* ports_;
  ResolverTable* resolvers_;
  std::map<int, Client> clients_;
};

}  // namespace gantry::portproxy
