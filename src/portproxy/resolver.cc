// SPDX-License-Identifier: Apache-2.0
#include "portproxy/resolver.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace gantry::portproxy {
namespace {

using formats::DnsCode;
using formats::DnsQuery;
using formats::DnsType;

constexpr uint32_t kTtl = 600;  // seconds, docker's
constexpr uint16_t kDnsPort = 53;
constexpr size_t kMaxServers = 3;
constexpr size_t kMaxAsked = 256;
constexpr size_t kMaxClients = 64;
constexpr size_t kMaxQuestion = 4096;
constexpr auto kClientTime = std::chrono::seconds(10);
// Per wake-up, so that one container that asks much doesn't starve the others.
constexpr int kRoundsPerEvent = 32;

bool Is(const DnsQuery& query, DnsType type) {
  return query.type == static_cast<uint16_t>(type) && query.dns_class == formats::kDnsInternet;
}

std::string Framed(const std::string& packet) {
  std::string out{static_cast<char>(packet.size() >> 8), static_cast<char>(packet.size())};
  return out + packet;
}

}  // namespace

Result<std::unique_ptr<Resolver>> Resolver::Create(EventLoop* loop, const NameTable* names,
                                                   Sockets sockets) {
  std::unique_ptr<Resolver> resolver(new Resolver(loop, names, std::move(sockets)));
  Resolver* raw = resolver.get();
  TRY(loop->Watch(raw->sockets_.udp, EPOLLIN, [raw](uint32_t) { raw->OnUdp(); }));
  TRY(loop->Watch(raw->sockets_.tcp, EPOLLIN, [raw](uint32_t) { raw->OnTcp(); }));
  return resolver;
}

Resolver::~Resolver() {
  asked_.clear();
  while (!clients_.empty()) Drop(clients_.begin()->first);
  loop_->Unwatch(sockets_.udp);
  loop_->Unwatch(sockets_.tcp);
}

Result<> Resolver::Set(const formats::ProxyResolver& spec) {
  std::vector<Outside::Server> servers;
  for (const formats::ProxyServer& server : spec.servers) {
    if (servers.size() == kMaxServers) break;
    if (server.host && !spec.outside) continue;
    servers.push_back({TRY(SocketAddress::Of(server.address, kDnsPort)), server.host});
  }
  // Other servers may say other things.
  if (spec.servers != spec_.servers || spec.outside != spec_.outside) cache_ = {};
  servers_ = std::move(servers);
  spec_ = spec;
  return {};
}

void Resolver::OnUdp() {
  for (int round = 0; round < kRoundsPerEvent; ++round) {
    char buffer[kMaxQuestion];
    SocketAddress from;
    from.size = sizeof from.storage;
    ssize_t size = ::recvfrom(sockets_.udp.get(), buffer, sizeof buffer, 0,
                              reinterpret_cast<sockaddr*>(&from.storage), &from.size);
    if (size < 0) return;  // nothing left, or an ICMP error that was read and so cleared
    std::string packet(buffer, static_cast<size_t>(size));
    auto query = formats::ParseDnsQuery(packet);
    if (!query.ok()) continue;
    Answer(std::move(packet), *query, false, [this, from, query = *query](std::string reply) {
      if (reply.size() > query.max_size) reply = formats::CutDnsReply(reply, query);
      // A full buffer loses the answer, as networks do.
      (void)::sendto(sockets_.udp.get(), reply.data(), reply.size(), MSG_NOSIGNAL, from.get(),
                     from.size);
    });
  }
}

void Resolver::OnTcp() {
  UniqueFd fd(::accept4(sockets_.tcp.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid() || clients_.size() >= kMaxClients) return;
  int number = fd.get();
  auto watched =
      loop_->Watch(fd, EPOLLIN, [this, number](uint32_t events) { OnClient(number, events); });
  if (!watched.ok()) return log::Warning("{}", watched.error().message());
  Client& client = clients_[number];
  client.fd = std::move(fd);
  client.timer = loop_->After(kClientTime, [this, number] {
    clients_[number].timer = 0;
    Drop(number);
  });
}

void Resolver::Drop(int fd) {
  auto client = clients_.find(fd);
  if (client == clients_.end()) return;
  if (client->second.timer != 0) loop_->CancelTimer(client->second.timer);
  loop_->Unwatch(client->second.fd);
  clients_.erase(client);
}

void Resolver::OnClient(int fd, uint32_t events) {
  auto client = clients_.find(fd);
  if (client != clients_.end() && !ServeClient(&client->second, events).ok()) Drop(fd);
}

Result<> Resolver::ServeClient(Client* client, uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    char buffer[kMaxQuestion];
    ssize_t size = ::recv(client->fd.get(), buffer, sizeof buffer, 0);
    if (size < 0 && errno != EAGAIN) return ErrnoError("reading a question");
    if (size == 0) return MakeError(ErrorKind::kCancelled, "closed");
    if (size > 0) client->input.append(buffer, static_cast<size_t>(size));
  }
  while (client->input.size() >= 2) {
    auto byte = [&](size_t i) { return size_t{static_cast<uint8_t>(client->input[i])}; };
    size_t length = byte(0) << 8 | byte(1);
    if (client->input.size() < 2 + length) break;
    std::string packet = client->input.substr(2, length);
    client->input.erase(0, 2 + length);
    DnsQuery query = TRY(formats::ParseDnsQuery(packet));
    int number = client->fd.get();
    EventLoop::TimerId which = client->timer;  // a later client may get the same descriptor
    Answer(std::move(packet), query, true, [this, number, which](const std::string& reply) {
      auto found = clients_.find(number);
      if (found == clients_.end() || found->second.timer != which) return;
      found->second.output += Framed(reply);
      (void)loop_->SetEvents(found->second.fd, EPOLLIN | EPOLLOUT);
    });
  }
  while (!client->output.empty()) {
    ssize_t sent =
        ::send(client->fd.get(), client->output.data(), client->output.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return loop_->SetEvents(client->fd, EPOLLIN | EPOLLOUT);
    if (sent < 0) return ErrnoError("answering");
    client->output.erase(0, static_cast<size_t>(sent));
  }
  return loop_->SetEvents(client->fd, EPOLLIN);
}

void Resolver::Answer(std::string packet, const DnsQuery& query, bool tcp, const Reply& reply) {
  if (query.opcode != 0) {
    return reply(formats::EncodeDnsAnswer(query, DnsCode::kNotImplemented, {}));
  }
  std::string known = FromTable(query);
  if (known.empty() && !tcp) known = cache_.Find(query);
  if (!known.empty()) return reply(std::move(known));
  AskOutside(std::move(packet), query, tcp, reply);
}

std::vector<NamedAddresses> Resolver::AddressesOf(const std::string& name) const {
  for (const formats::ProxyLink& link : spec_.links) {
    if (LowerCase(link.alias) != name) continue;
    auto linked = names_->AddressesOf(LowerCase(link.name), spec_.networks);
    if (!linked.empty()) return linked;
  }
  return names_->AddressesOf(name, spec_.networks);
}

std::string Resolver::FromTable(const DnsQuery& query) {
  if (query.name.empty()) return {};
  if (Is(query, DnsType::kPtr)) {
    auto address = formats::ParseDnsPointerName(query.name);
    auto address6 = formats::ParseDnsPointerName6(query.name);
    std::string text = address ? address->ToString() : address6 ? address6->ToString() : "";
    auto name = text.empty() ? std::nullopt : names_->NameOf(text, spec_.networks);
    if (!name) return {};
    return formats::EncodeDnsAnswer(query, DnsCode::kNoError,
                                    {formats::DnsPointerRecord(*name, kTtl)});
  }
  bool ipv4 = Is(query, DnsType::kA);
  bool ipv6 = Is(query, DnsType::kAaaa);
  if (!ipv4 && !ipv6 && !Is(query, DnsType::kMx)) return {};
  std::vector<NamedAddresses> found = AddressesOf(query.name);
  if (found.empty()) return {};
  std::vector<formats::DnsRecord> records;
  for (const NamedAddresses& each : found) {
    if (ipv4 && each.ipv4) records.push_back(formats::DnsAddressRecord(*each.ipv4, kTtl));
    if (ipv6 && each.ipv6) records.push_back(formats::DnsAddressRecord(*each.ipv6, kTtl));
  }
  if (!records.empty()) {
    std::rotate(records.begin(), records.begin() + turn_++ % records.size(), records.end());
  }
  return formats::EncodeDnsAnswer(query, DnsCode::kNoError, records);
}

void Resolver::AskOutside(std::string packet, const DnsQuery& query, bool tcp, Reply reply) {
  if (servers_.empty() || asked_.size() >= kMaxAsked) {
    DnsCode code = servers_.empty() ? DnsCode::kServerFailure : DnsCode::kRefused;
    return reply(formats::EncodeDnsAnswer(query, code, {}));
  }
  auto place = asked_.emplace(asked_.end());
  auto done = [this, place, query, tcp, reply = std::move(reply)](std::string answer) {
    // What is called here is part of the question that ends.
    std::unique_ptr<Upstream> ended = std::move(*place);
    asked_.erase(place);
    if (answer.empty()) answer = formats::EncodeDnsAnswer(query, DnsCode::kServerFailure, {});
    if (!tcp) cache_.Keep(query, answer);
    reply(std::move(answer));
  };
  *place = Upstream::Ask(loop_, {sockets_.netns, servers_}, std::move(packet), query, tcp,
                         std::move(done));
}

Result<> ResolverTable::Set(const formats::ProxyResolver& spec, std::vector<UniqueFd> sockets) {
  if (spec.networks.empty()) {
    resolvers_.erase(spec.owner);
    return {};
  }
  if (sockets.empty()) {
    auto known = resolvers_.find(spec.owner);
    if (known == resolvers_.end()) return NotFound("no resolver of '{}'", spec.owner);
    return known->second->Set(spec);
  }
  if (sockets.size() != 3) return InvalidArgument("a resolver has three descriptors");
  auto made = TRY(Resolver::Create(
      loop_, &names_, {std::move(sockets[0]), std::move(sockets[1]), std::move(sockets[2])}));
  TRY(made->Set(spec));
  resolvers_[spec.owner] = std::move(made);
  return {};
}

void ResolverTable::List(formats::ProxyReply* reply) const {
  for (const auto& [owner, resolver] : resolvers_) reply->resolvers.push_back(resolver->spec());
  reply->endpoints = names_.List();
}

}  // namespace gantry::portproxy
