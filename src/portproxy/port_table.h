// SPDX-License-Identifier: Apache-2.0
//
// Whose ports are open: owner → listeners. A change of one owner's listeners happens as a whole or
// not at all; listeners that stay the same are not touched. Where the kernel has no sctp, ports of
// that are held without a socket: nobody else on the host can have them. The control server calls
// it; one thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "formats/proxy_message.h"
#include "portproxy/listener.h"

namespace gantry::portproxy {

class PortTable {
 public:
  explicit PortTable(EventLoop* loop) : loop_(loop) {}

  // From now on the owner has exactly these listeners. The answer's `ports`, or its `failure`.
  formats::ProxyReply Set(const std::string& owner,
                          const std::vector<formats::ProxyListener>& wanted);
  std::vector<formats::ProxyOwner> List() const;

 private:
  struct Entry {
    formats::ProxyListener spec;  // first_port == last_port: the one that was taken
    std::vector<std::unique_ptr<Listener>> listeners;
  };
  using Entries = std::vector<Entry>;
  using Held = std::set<std::pair<std::string, uint16_t>>;  // address and port
  class HeldPort;

  Result<Entry> Open(const formats::ProxyListener& wanted, formats::ProxyFailure* failure);
  Result<std::vector<UniqueFd>> BindAll(const formats::ProxyListener& wanted, uint16_t port,
                                        formats::ProxyFailure* failure);
  Result<Entry> Hold(const formats::ProxyListener& wanted, formats::ProxyFailure* failure);
  bool IsHeld(const std::string& address, uint16_t port) const;
  std::string HolderOf(const std::string& protocol, const std::string& address,
                       uint16_t port) const;

  EventLoop* loop_;
  Held held_;  // before those whose entries are in it
  std::map<std::string, Entries> owners_;
};

}  // namespace gantry::portproxy
