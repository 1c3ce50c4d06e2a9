// SPDX-License-Identifier: Apache-2.0
#include "portproxy/upstream.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/random.h"
#include "kernel/net_namespace.h"

namespace gantry::portproxy {
namespace {

constexpr auto kServerTime = std::chrono::seconds(4);
// Whoever can't help; the next server may.
bool Helps(formats::DnsCode code) {
  return code != formats::DnsCode::kServerFailure && code != formats::DnsCode::kRefused;
}

bool WouldBlock() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

Upstream::Upstream(EventLoop* loop, Outside outside, std::string packet, formats::DnsQuery query,
                   bool tcp, Done done)
    : loop_(loop),
      outside_(std::move(outside)),
      query_(std::move(query)),
      tcp_wanted_(tcp),
      done_(std::move(done)),
      packet_(std::move(packet)) {}

std::unique_ptr<Upstream> Upstream::Ask(EventLoop* loop, const Outside& outside, std::string packet,
                                        const formats::DnsQuery& query, bool tcp, Done done) {
  std::unique_ptr<Upstream> question(
      new Upstream(loop, outside, std::move(packet), query, tcp, std::move(done)));
  Upstream* raw = question.get();
  // Not at once: the answer, or that there is none, comes after the caller has the question.
  raw->timer_ = loop->After(std::chrono::nanoseconds(0), [raw] {
    raw->timer_ = 0;
    raw->AskNext();
  });
  return question;
}

Upstream::~Upstream() { Close(); }

void Upstream::Close() {
  if (timer_ != 0) loop_->CancelTimer(std::exchange(timer_, 0));
  if (socket_.valid()) loop_->Unwatch(socket_);
  socket_.Reset();
}

void Upstream::AskNext() {
  for (; next_ < outside_.servers.size(); ++next_) {
    Close();
    tcp_ = tcp_wanted_;
    if (!Open().ok()) continue;
    return;
  }
  Finish(std::move(last_));
}

// Asks the server `next_`.
Result<> Upstream::Open() {
  const Outside::Server& server = outside_.servers[next_];
  int type = (tcp_ ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  int family = server.address.storage.ss_family;
  if (server.host) {
    socket_ = UniqueFd(::socket(family, type, 0));
    if (!socket_.valid()) return ErrnoError("opening a socket");
  } else {
    socket_ = TRY(kernel::SocketInNetNamespace(outside_.netns, family, type));
  }
  // Bound to the server: others' datagrams don't come in.
  if (::connect(socket_.get(), server.address.get(), server.address.size) < 0 &&
      errno != EINPROGRESS) {
    return ErrnoError("connecting to a name server");
  }
  FillRandom(&id_, sizeof id_);
  formats::SetDnsId(&packet_, id_);
  if (tcp_) {
    output_ =
        std::string{static_cast<char>(packet_.size() >> 8), static_cast<char>(packet_.size())};
    output_ += packet_;
    input_.clear();
  } else if (::send(socket_.get(), packet_.data(), packet_.size(), MSG_NOSIGNAL) < 0) {
    return ErrnoError("asking a name server");
  }
  TRY(loop_->Watch(socket_, tcp_ ? EPOLLOUT : EPOLLIN, [this](uint32_t e) { OnEvent(e); }));
  timer_ = loop_->After(kServerTime, [this] {
    timer_ = 0;
    ++next_;
    AskNext();
  });
  return {};
}

void Upstream::OnEvent(uint32_t events) {
  std::string reply;
  auto step = [&]() -> Result<bool> {
    if (tcp_ && !output_.empty()) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) return Unavailable("refused");
      TRY(SendTcp());
      return false;
    }
    return Receive(&reply);
  };
  auto whole = step();
  if (!whole.ok()) {
    ++next_;
    return AskNext();
  }
  if (*whole) Take(std::move(reply));
}

Result<> Upstream::SendTcp() {
  ssize_t sent = ::send(socket_.get(), output_.data(), output_.size(), MSG_NOSIGNAL);
  if (sent < 0) return WouldBlock() ? Result<>() : ErrnoError("asking a name server");
  output_.erase(0, static_cast<size_t>(sent));
  return output_.empty() ? loop_->SetEvents(socket_, EPOLLIN) : Result<>();
}

Result<bool> Upstream::Receive(std::string* reply) {
  static char buffer[formats::kDnsMaxSize];
  ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (size < 0 && WouldBlock()) return false;
  if (size < 0) return ErrnoError("reading a name server's answer");
  if (!tcp_) {
    reply->assign(buffer, static_cast<size_t>(size));
    return true;
  }
  if (size == 0) return Unavailable("the name server hung up");
  input_.append(buffer, static_cast<size_t>(size));
  if (input_.size() < 2) return false;
  size_t length = size_t{static_cast<uint8_t>(input_[0])} << 8 | static_cast<uint8_t>(input_[1]);
  if (input_.size() < 2 + length) return false;
  *reply = input_.substr(2, length);
  return true;
}

void Upstream::Take(std::string reply) {
  auto parsed = formats::ParseDnsReply(reply);
  bool ours = parsed.ok() && parsed->id == id_ &&
              formats::SameDnsQuestion(parsed->question, query_.question);
  // Something else came in: the answer may still come, until the time is over.
  if (!ours && !tcp_) return;
  if (!ours) {
    ++next_;
    return AskNext();
  }
  if (parsed->truncated && !tcp_) {
    Close();
    tcp_ = true;
    if (Open().ok()) return;
    ++next_;
    return AskNext();
  }
  formats::SetDnsId(&reply, query_.id);
  if (Helps(parsed->code)) return Finish(std::move(reply));
  last_ = std::move(reply);
  ++next_;
  AskNext();
}

void Upstream::Finish(std::string reply) {
  Close();
  Done done = std::move(done_);
  done(std::move(reply));
}

}  // namespace gantry::portproxy
