// SPDX-License-Identifier: Apache-2.0
#include "portproxy/port_table.h"

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/number.h"
#include "base/text.h"
#include "kernel/sctp.h"

namespace gantry::portproxy {
namespace {

// A free port of the first family may be taken in the second: another one is tried.
constexpr int kRandomAttempts = 64;

Transport TransportOf(const std::string& protocol) {
  return protocol == "udp"    ? Transport::kUdp
         : protocol == "sctp" ? Transport::kSctp
                              : Transport::kTcp;
}

// ip(7), ip_local_port_range: what a port 0 is bound to.
Result<std::pair<uint16_t, uint16_t>> RandomPorts() {
  std::string text = TRY(ReadFile("/proc/sys/net/ipv4/ip_local_port_range"));
  std::vector<std::string> words = SplitWords(text, " \t\n");
  auto first = ParseNumber<uint16_t>(words.empty() ? "" : words.front());
  auto last = ParseNumber<uint16_t>(words.empty() ? "" : words.back());
  if (!first || !last) return Internal("ip_local_port_range is '{}'", text);
  return std::pair{*first, *last};
}

bool IsWildcard(const std::string& address) { return address == "0.0.0.0" || address == "::"; }

bool Meet(const std::string& a, const std::string& b) {
  bool a_is_v6 = a.find(':') != std::string::npos;
  bool b_is_v6 = b.find(':') != std::string::npos;
  return a_is_v6 == b_is_v6 && (a == b || IsWildcard(a) || IsWildcard(b));
}

// The request is served by a listener that exists.
bool Fits(const formats::ProxyListener& open, const formats::ProxyListener& wanted) {
  return open.protocol == wanted.protocol && open.addresses == wanted.addresses &&
         open.target_address == wanted.target_address && open.target_port == wanted.target_port &&
         wanted.first_port != 0 && wanted.first_port <= open.first_port &&
         open.first_port <= wanted.last_port;
}

}  // namespace

formats::ProxyReply PortTable::Set(const std::string& owner,
                                   const std::vector<formats::ProxyListener>& wanted) {
  Entries& old = owners_[owner];
  Entries next(wanted.size());
  std::vector<size_t> kept(wanted.size(), SIZE_MAX);  // index in `old`
  std::vector<bool> taken(old.size(), false);
  for (size_t i = 0; i < wanted.size(); ++i) {
    for (size_t j = 0; j < old.size() && kept[i] == SIZE_MAX; ++j) {
      if (!taken[j] && Fits(old[j].spec, wanted[i])) {
        kept[i] = j;
        taken[j] = true;
      }
    }
  }
  formats::ProxyReply reply;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (kept[i] != SIZE_MAX) continue;
    formats::ProxyFailure failure;
    failure.listener = static_cast<uint32_t>(i);
    auto entry = Open(wanted[i], &failure);
    if (!entry.ok()) {
      failure.message = entry.error().message();
      failure.error_number = entry.error().error_number();
      reply.failure = std::move(failure);
      if (old.empty()) owners_.erase(owner);
      return reply;
    }
    next[i] = std::move(entry).value();
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (kept[i] != SIZE_MAX) next[i] = std::move(old[kept[i]]);
    reply.ports.push_back(next[i].spec.first_port);
  }
  old = std::move(next);
  if (old.empty()) owners_.erase(owner);
  return reply;
}

std::vector<formats::ProxyOwner> PortTable::List() const {
  std::vector<formats::ProxyOwner> owners;
  for (const auto& [owner, entries] : owners_) {
    formats::ProxyOwner item{owner, {}};
    for (const Entry& entry : entries) item.listeners.push_back(entry.spec);
    owners.push_back(std::move(item));
  }
  return owners;
}

Result<PortTable::Entry> PortTable::Open(const formats::ProxyListener& wanted,
                                         formats::ProxyFailure* failure) {
  SocketAddress target = TRY(SocketAddress::Of(wanted.target_address, wanted.target_port));
  Transport transport = TransportOf(wanted.protocol);
  if (transport == Transport::kSctp && !kernel::HasSctp()) return Hold(wanted, failure);
  Result<std::vector<UniqueFd>> sockets = Internal("no port was tried");
  if (wanted.first_port == 0) {
    for (int attempt = 0; attempt < kRandomAttempts; ++attempt) {
      sockets = BindAll(wanted, 0, failure);
      if (sockets.ok() || sockets.error().error_number() != EADDRINUSE) break;
    }
  } else {
    for (uint32_t port = wanted.first_port; port <= wanted.last_port; ++port) {
      sockets = BindAll(wanted, static_cast<uint16_t>(port), failure);
      if (sockets.ok() || sockets.error().error_number() != EADDRINUSE) break;
    }
  }
  std::vector<UniqueFd> bound = TRY(std::move(sockets));
  Entry entry{wanted, {}};
  entry.spec.first_port = entry.spec.last_port = TRY(BoundPort(bound.front()));
  for (UniqueFd& socket : bound) {
    entry.listeners.push_back(
        TRY(transport == Transport::kUdp
                ? MakeUdpListener(loop_, std::move(socket), target)
                : MakeAcceptingListener(loop_, transport, std::move(socket), target)));
  }
  return entry;
}

// The same port on every address; with port 0 the first one chooses.
Result<std::vector<UniqueFd>> PortTable::BindAll(const formats::ProxyListener& wanted,
                                                 uint16_t port, formats::ProxyFailure* failure) {
  std::vector<UniqueFd> sockets;
  for (const std::string& address : wanted.addresses) {
    failure->address = address;
    failure->port = port;
    auto socket = BindSocket(TransportOf(wanted.protocol), TRY(SocketAddress::Of(address, port)));
    if (!socket.ok()) {
      failure->holder = HolderOf(wanted.protocol, address, port);
      return std::move(socket).error();
    }
    if (port == 0) port = TRY(BoundPort(*socket));
    sockets.push_back(std::move(socket).value());
  }
  return sockets;
}

// A port without a socket.
class PortTable::HeldPort : public Listener {
 public:
  HeldPort(Held* held, const std::string& address, uint16_t port)
      : held_(held), place_(held->emplace(address, port).first) {}
  ~HeldPort() override { held_->erase(place_); }

 private:
  Held* held_;
  Held::iterator place_;
};

Result<PortTable::Entry> PortTable::Hold(const formats::ProxyListener& wanted,
                                         formats::ProxyFailure* failure) {
  std::pair<uint16_t, uint16_t> range{wanted.first_port, wanted.last_port};
  if (wanted.first_port == 0) range = TRY(RandomPorts());
  for (uint32_t number = range.first; number <= range.second; ++number) {
    auto port = static_cast<uint16_t>(number);
    auto held = std::find_if(wanted.addresses.begin(), wanted.addresses.end(),
                             [&](const std::string& address) { return IsHeld(address, port); });
    if (held != wanted.addresses.end()) {
      failure->address = *held;
      failure->port = port;
      continue;
    }
    Entry entry{wanted, {}};
    entry.spec.first_port = entry.spec.last_port = port;
    for (const std::string& address : wanted.addresses) {
      entry.listeners.push_back(std::make_unique<HeldPort>(&held_, address, port));
    }
    return entry;
  }
  failure->holder = HolderOf(wanted.protocol, failure->address, failure->port);
  return ErrnoErrorOf(EADDRINUSE, "bind");
}

bool PortTable::IsHeld(const std::string& address, uint16_t port) const {
  return std::any_of(held_.begin(), held_.end(), [&](const auto& held) {
    return held.second == port && Meet(held.first, address);
  });
}

std::string PortTable::HolderOf(const std::string& protocol, const std::string& address,
                                uint16_t port) const {
  for (const auto& [owner, entries] : owners_) {
    for (const Entry& entry : entries) {
      if (entry.spec.protocol != protocol || entry.spec.first_port != port) continue;
      for (const std::string& other : entry.spec.addresses) {
        if (Meet(address, other)) return owner;
      }
    }
  }
  return {};
}

}  // namespace gantry::portproxy
