// SPDX-License-Identifier: Apache-2.0
//
// A session is a client address and the local address that it spoke to; each has a connected socket
// to the container, and answers go out from the address that the client used. A session ends 90 s
// after its last packet, as docker-proxy's do, or when a newer one needs its place.
#include <netinet/in.h>

#include <cstring>
#include <list>
#include <string>
#include <unordered_map>

#include "base/log.h"
#include "portproxy/listener.h"

namespace gantry::portproxy {
namespace {

constexpr size_t kMaxSessions = 1024;  // per listener
constexpr auto kSessionLife = std::chrono::seconds(90);
constexpr auto kSweepEvery = std::chrono::seconds(15);
constexpr int kUdpRoundsPerEvent = 64;
constexpr size_t kMaxDatagram = 65'535;

// Where a datagram came from, and to which of our addresses.
struct Peer {
  SocketAddress address;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo))];
  size_t control_size = 0;

  std::string Key() const {
    return std::string(reinterpret_cast<const char*>(&address.storage), address.size) +
           std::string(control, control_size);
  }
};

// Turns the received IP_PKTINFO or IPV6_PKTINFO into the one to send with: the local address stays,
// the interface is left to the routing table.
void KeepLocalAddress(msghdr* message, Peer* peer) {
  peer->control_size = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr;
       header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      auto* info = reinterpret_cast<in_pktinfo*>(CMSG_DATA(header));
      info->ipi_ifindex = 0;
      info->ipi_spec_dst = info->ipi_addr;
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      auto* info = reinterpret_cast<in6_pktinfo*>(CMSG_DATA(header));
      // Link-local addresses mean nothing without their interface.
      if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr)) info->ipi6_ifindex = 0;
    }
  }
  if (message->msg_controllen <= sizeof peer->control) peer->control_size = message->msg_controllen;
}

class UdpListener : public Listener {
 public:
  UdpListener(EventLoop* loop, UniqueFd socket, const SocketAddress& target)
      : loop_(loop), socket_(std::move(socket)), target_(target) {}
  ~UdpListener() override {
    loop_->Unwatch(socket_);
    for (Session& session : sessions_) loop_->Unwatch(session.upstream);
    if (sweep_ != 0) loop_->CancelTimer(sweep_);
  }

  Result<> Start() {
    return loop_->Watch(socket_, EPOLLIN, [this](uint32_t) { FromClients(); });
  }

 private:
  struct Session {
    std::string key;
    Peer peer;
    UniqueFd upstream;
    SteadyClock::time_point last_used;
  };
  using Sessions = std::list<Session>;  // the longest unused first

  void FromClients() {
    for (int round = 0; round < kUdpRoundsPerEvent; ++round) {
      Peer peer;
      std::memset(peer.control, 0, sizeof peer.control);
      iovec data{Buffer(), kMaxDatagram};
      msghdr message{};
      message.msg_name = &peer.address.storage;
      message.msg_namelen = sizeof peer.address.storage;
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = peer.control;
      message.msg_controllen = sizeof peer.control;
      ssize_t size = ::recvmsg(socket_.get(), &message, 0);
      if (size < 0) return;  // nothing left, or a client's ICMP error that is none of ours
      peer.address.size = message.msg_namelen;
      KeepLocalAddress(&message, &peer);
      auto session = FindOrMake(peer);
      if (!session.ok()) {
        log::Warning("{}", session.error().message());
        continue;
      }
      // A full buffer or a closed port loses the datagram, as networks do.
      (void)::send((*session)->upstream.get(), Buffer(), static_cast<size_t>(size), 0);
    }
  }

  void FromTarget(Sessions::iterator session) {
    for (int round = 0; round < kUdpRoundsPerEvent; ++round) {
      ssize_t size = ::recv(session->upstream.get(), Buffer(), kMaxDatagram, 0);
      if (size < 0 && errno == EAGAIN) return;
      if (size < 0) continue;  // the container's ICMP error, read and so cleared
      Touch(session);
      iovec data{Buffer(), static_cast<size_t>(size)};
      msghdr message{};
      message.msg_name = &session->peer.address.storage;
      message.msg_namelen = session->peer.address.size;
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = session->peer.control_size > 0 ? session->peer.control : nullptr;
      message.msg_controllen = session->peer.control_size;
      (void)::sendmsg(socket_.get(), &message, 0);
    }
  }

  Result<Sessions::iterator> FindOrMake(const Peer& peer) {
    std::string key = peer.Key();
    auto found = by_key_.find(key);
    if (found != by_key_.end()) {
      Touch(found->second);
      return found->second;
    }
    if (sessions_.size() >= kMaxSessions) End(sessions_.begin());
    UniqueFd upstream(
        ::socket(target_.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!upstream.valid()) return ErrnoError("opening a socket");
    if (::connect(upstream.get(), target_.get(), target_.size) < 0) {
      return ErrnoError("connecting to a container's udp port");
    }
    auto session = sessions_.insert(sessions_.end(),
                                    Session{key, peer, std::move(upstream), SteadyClock::now()});
    auto watched = loop_->Watch(session->upstream, EPOLLIN,
                                [this, session](uint32_t) { FromTarget(session); });
    if (!watched.ok()) {
      sessions_.erase(session);
      return std::move(watched).error();
    }
    by_key_.emplace(std::move(key), session);
    if (sweep_ == 0) ScheduleSweep();
    return session;
  }

  void Touch(Sessions::iterator session) {
    session->last_used = SteadyClock::now();
    sessions_.splice(sessions_.end(), sessions_, session);
  }

  void End(Sessions::iterator session) {
    loop_->Unwatch(session->upstream);
    by_key_.erase(session->key);
    sessions_.erase(session);
  }

  void ScheduleSweep() {
    sweep_ = loop_->After(kSweepEvery, [this] {
      sweep_ = 0;
      auto oldest = SteadyClock::now() - kSessionLife;
      while (!sessions_.empty() && sessions_.front().last_used <= oldest) End(sessions_.begin());
      if (!sessions_.empty()) ScheduleSweep();
    });
  }

  // One for the process: everything happens in one thread and nothing is kept in it.
  static char* Buffer() {
    static char buffer[kMaxDatagram];
    return buffer;
  }

  EventLoop* loop_;
  UniqueFd socket_;
  SocketAddress target_;
  Sessions sessions_;
  std::unordered_map<std::string, Sessions::iterator> by_key_;
  EventLoop::TimerId sweep_ = 0;
};

}  // namespace

Result<std::unique_ptr<Listener>> MakeUdpListener(EventLoop* loop, UniqueFd socket,
                                                  const SocketAddress& target) {
  auto listener = std::make_unique<UdpListener>(loop, std::move(socket), target);
  TRY(listener->Start());
  return std::unique_ptr<Listener>(std::move(listener));
}

}  // namespace gantry::portproxy
