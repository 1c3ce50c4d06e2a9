// SPDX-License-Identifier: Apache-2.0
//
// The resolver of one container (docs/resolver.md): its two sockets in the container's namespace,
// what it answers from the name table, what it asks outside. ResolverTable has those of all
// containers. One thread, that of the loop.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "formats/dns_message.h"
#include "formats/proxy_message.h"
#include "portproxy/name_table.h"
#include "portproxy/upstream.h"

namespace gantry::portproxy {

// Answers from outside that are kept for a while.
class AnswerCache {
 public:
  // With the asker's id and what is left of the TTLs; "" when there is none.
  std::string Find(const formats::DnsQuery& query);
  void Keep(const formats::DnsQuery& query, const std::string& reply);

 private:
  struct Entry {
    std::string reply;
    formats::DnsReply parsed;
    SteadyClock::time_point since;
    SteadyClock::time_point until;
  };
  static std::string KeyOf(const formats::DnsQuery& query);
  std::map<std::string, Entry> entries_;
};

class Resolver {
 public:
  struct Sockets {
    UniqueFd udp;
    UniqueFd tcp;    // listening
    UniqueFd netns;  // where it asks outside
  };

  static Result<std::unique_ptr<Resolver>> Create(EventLoop* loop, const NameTable* names,
                                                  Sockets sockets);
  ~Resolver();

  // kInvalidArgument for a server's address that is none; nothing is changed then.
  Result<> Set(const formats::ProxyResolver& spec);
  const formats::ProxyResolver& spec() const { return spec_; }

 private:
  struct Client {  // over tcp
    UniqueFd fd;
    std::string input;
    std::string output;
    EventLoop::TimerId timer = 0;
  };
  using Reply = std::function<void(std::string packet)>;

  Resolver(EventLoop* loop, const NameTable* names, Sockets sockets)
      : loop_(loop), names_(names), sockets_(std::move(sockets)) {}
  void OnUdp();
  void OnTcp();
  void OnClient(int fd, uint32_t events);
  Result<> ServeClient(Client* client, uint32_t events);
  void Drop(int fd);
  void Answer(std::string packet, const formats::DnsQuery& query, bool tcp, const Reply& reply);
  // From the table; "" when it does not know.
  std::string FromTable(const formats::DnsQuery& query);
  std::vector<NamedAddresses> AddressesOf(const std::string& name) const;
  void AskOutside(std::string packet, const formats::DnsQuery& query, bool tcp, Reply reply);

  EventLoop* loop_;
  const NameTable* names_;
  Sockets sockets_;
  formats::ProxyResolver spec_;
  std::vector<Outside::Server> servers_;
  std::map<int, Client> clients_;
  std::list<std::unique_ptr<Upstream>> asked_;
  AnswerCache cache_;
  uint32_t turn_ = 0;  // which address an answer begins with
};

class ResolverTable {
 public:
  explicit ResolverTable(EventLoop* loop) : loop_(loop) {}

  // The operations "resolver" and "endpoint". `sockets` is empty or three descriptors.
  Result<> Set(const formats::ProxyResolver& spec, std::vector<UniqueFd> sockets);
  Result<> Set(const formats::ProxyEndpoint& endpoint) { return names_.Set(endpoint); }
  void List(formats::ProxyReply* reply) const;

 private:
  EventLoop* loop_;
  NameTable names_;
  std::map<std::string, std::unique_ptr<Resolver>> resolvers_;  // by container
};

}  // namespace gantry::portproxy
