// SPDX-License-Identifier: Apache-2.0
//
// One question to the servers outside (docs/resolver.md): each is asked in turn, over udp, over tcp
// when the answer was cut or the asker uses tcp. One thread, that of the loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "formats/dns_message.h"
#include "portproxy/listener.h"

namespace gantry::portproxy {

// From where and whom one asks.
struct Outside {
  BorrowedFd netns;  // the container's
  struct Server {
    SocketAddress address;
    bool host = false;  // asked from the proxy's own namespace
  };
  std::vector<Server> servers;
};

class Upstream {
 public:
  // The server's answer, with the asker's id; "" when nobody gave one.
  using Done = std::function<void(std::string reply)>;

  // Asks. `done` is called once, never within Ask, unless the question is destroyed before; it may
  // destroy the question.
  static std::unique_ptr<Upstream> Ask(EventLoop* loop, const Outside& outside, std::string packet,
                                       const formats::DnsQuery& query, bool tcp, Done done);
  ~Upstream();

 private:
  Upstream(EventLoop* loop, Outside outside, std::string packet, formats::DnsQuery query, bool tcp,
           Done done);
  void AskNext();
  Result<> Open();
  void OnEvent(uint32_t events);
  Result<> SendTcp();
  // True when a whole answer is there.
  Result<bool> Receive(std::string* reply);
  void Take(std::string reply);
  void Close();
  void Finish(std::string reply);

  EventLoop* loop_;
  const Outside outside_;
  const formats::DnsQuery query_;
  const bool tcp_wanted_;
  Done done_;
  std::string packet_;  // with an id of its own
  uint16_t id_ = 0;
  size_t next_ = 0;  // server
  bool tcp_ = false;
  UniqueFd socket_;
  std::string output_;  // tcp
  std::string input_;   // tcp
  std::string last_;    // what a server answered that could not help
  EventLoop::TimerId timer_ = 0;
};

}  // namespace gantry::portproxy
