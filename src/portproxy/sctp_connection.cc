// SPDX-License-Identifier: Apache-2.0
//
// An association (RFC 9260) led on by another one, message by message: each keeps its bounds, its
// stream, its payload protocol identifier and whether it may overtake others (RFC 6458, sections
// 5.3.4 and 5.3.5). A direction holds one message and reads the next when the other side has taken
// it, so a slow reader slows its writer down. There is no half-close: the end of one side is the
// other's, once what it said has been passed on.
#include <netinet/in.h>
// After it: both define the same structures otherwise.
#include <linux/sctp.h>

#include <array>
#include <cstring>
#include <string>

#include "portproxy/stream_pair.h"

namespace gantry::portproxy {
namespace {

// What the kernel lets a sender with the usual buffer send at once is less. Larger ones are cut.
constexpr size_t kMaxMessage = size_t{256} << 10;
// Per wake-up, so that one busy association doesn't starve the others.
constexpr int kSctpRoundsPerEvent = 16;

enum class Step { kDone, kWait, kEnd };

// One direction.
class MessageStream {
 public:
  // Moves what there is. False at the end, or when one side is broken.
  bool Pump(BorrowedFd from, BorrowedFd to) {
    for (int round = 0; round < kSctpRoundsPerEvent; ++round) {
      Step step = is_whole_ ? Step::kDone : Receive(from);
      if (step == Step::kDone) step = Send(to);
      if (step != Step::kDone) return step == Step::kWait;
    }
    return true;
  }

  bool WantsRead() const { return !is_whole_; }
  bool WantsWrite() const { return is_whole_; }

 private:
  // Until the message is whole.
  Step Receive(BorrowedFd from) {
    static std::array<char, kMaxMessage> buffer;  // one for the process: nothing stays in it
    while (!is_whole_) {
      iovec part{buffer.data(), buffer.size() - message_.size()};
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(sctp_rcvinfo))> control{};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      ssize_t size = ::recvmsg(from.get(), &header, 0);
      if (size < 0) return errno == EAGAIN || errno == EINTR ? Step::kWait : Step::kEnd;
      if (size == 0) return Step::kEnd;
      message_.append(buffer.data(), static_cast<size_t>(size));
      Note(&header);
      is_whole_ = (header.msg_flags & MSG_EOR) != 0 || message_.size() == kMaxMessage;
    }
    return Step::kDone;
  }

  void Note(msghdr* header) {
    for (cmsghdr* item = CMSG_FIRSTHDR(header); item != nullptr; item = CMSG_NXTHDR(header, item)) {
      if (item->cmsg_level != IPPROTO_SCTP || item->cmsg_type != SCTP_RCVINFO) continue;
      sctp_rcvinfo received;
      std::memcpy(&received, CMSG_DATA(item), sizeof received);
      info_ = {};
      info_.snd_sid = received.rcv_sid;
      info_.snd_ppid = received.rcv_ppid;
      info_.snd_flags = received.rcv_flags & SCTP_UNORDERED;
    }
  }

  Step Send(BorrowedFd to) {
    iovec part{message_.data(), message_.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof info_)> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = IPPROTO_SCTP;
    item->cmsg_type = SCTP_SNDINFO;
    item->cmsg_len = CMSG_LEN(sizeof info_);
    std::memcpy(CMSG_DATA(item), &info_, sizeof info_);
    // A message goes as a whole or not at all.
    if (::sendmsg(to.get(), &header, MSG_NOSIGNAL) < 0) {
      return errno == EAGAIN || errno == EINTR ? Step::kWait : Step::kEnd;
    }
    message_.clear();
    is_whole_ = false;
    return Step::kDone;
  }

  std::string message_;
  bool is_whole_ = false;  // there is one to send
  sctp_sndinfo info_{};
};

class SctpConnection : public StreamPair<MessageStream> {
 public:
  using StreamPair::StreamPair;

  Result<bool> Start(const SocketAddress& target) override {
    int one = 1;
    for (const UniqueFd& end : ends_) {
      if (::setsockopt(end.get(), IPPROTO_SCTP, SCTP_RECVRCVINFO, &one, sizeof one) < 0) {
        return ErrnoError("setting up an association");
      }
      // The ends decide about delaying small messages, not the relay.
      (void)::setsockopt(end.get(), IPPROTO_SCTP, SCTP_NODELAY, &one, sizeof one);
    }
    return Connect(target);
  }

 private:
  void OnEvent(size_t /*side*/, uint32_t events) override {
    if (!connected_) {
      if (ConnectError() != 0 || (events & EPOLLOUT) == 0) {
        EndByReset(ends_[0]);
        return End();
      }
      connected_ = true;
    }
    bool alive = streams_[0].Pump(ends_[0], ends_[1]) && streams_[1].Pump(ends_[1], ends_[0]);
    // What was sent is still delivered.
    if (!alive || !UpdateEvents()) End();
  }
};

}  // namespace

std::unique_ptr<Connection> MakeSctpConnection(EventLoop* loop, UniqueFd client, UniqueFd target,
                                               std::function<void()> on_end) {
  return std::make_unique<SctpConnection>(loop, std::move(client), std::move(target),
                                          std::move(on_end));
}

}  // namespace gantry::portproxy
