// SPDX-License-Identifier: Apache-2.0
//
// Netlink by hand: messages are encoded one after the other into a batch, sent with one system
// call, and every acknowledgement is matched to its message. An error carries the kernel's own
// words (extended acks). rtnetlink.h and nftables.h say what is in the messages.
//
// The kernel works a batch off inside sendmsg(2), so there is nothing to wait for: all answers are
// queued when it returns. A socket belongs to the network namespace it was opened in, whatever
// thread uses it. One thread at a time.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// Messages in the making. Attributes go to the message begun last.
class NetlinkBatch {
 public:
  // `header` is the family's fixed header (ifinfomsg, nfgenmsg, …). NLM_F_REQUEST is added.
  template <typename Header>
  void Begin(uint16_t type, uint16_t flags, const Header& header) {
    BeginMessage(type, flags, &header, sizeof header);
  }

  void Attribute(uint16_t type, const void* data, size_t size);
  void Bytes(uint16_t type, std::string_view data) { Attribute(type, data.data(), data.size()); }
  void U8(uint16_t type, uint8_t value) { Attribute(type, &value, sizeof value); }
  void U16(uint16_t type, uint16_t value) { Attribute(type, &value, sizeof value); }
  void U32(uint16_t type, uint32_t value) { Attribute(type, &value, sizeof value); }
  // Network byte order, as all of nfnetlink has it.
  void Be32(uint16_t type, uint32_t value);
  void Be64(uint16_t type, uint64_t value);
  // With its terminating zero.
  void String(uint16_t type, std::string_view value);
  // A nested attribute: begin, its members, end with what begin returned.
  [[nodiscard]] size_t BeginNest(uint16_t type);
  void EndNest(size_t nest);
  // Raw bytes of a header inside a nested attribute.
  void Raw(const void* data, size_t size);

  size_t message_count() const { return offsets_.size(); }
  const std::string& bytes() const { return bytes_; }
  // Length of the message begun last.
  size_t current_size() const { return bytes_.size() - offsets_.back(); }

 private:
  friend class NetlinkSocket;
  void BeginMessage(uint16_t type, uint16_t flags, const void* header, size_t size);
  nlmsghdr* MessageAt(size_t index);
  void Pad();
  void FixLength();

  std::string bytes_;
  std::vector<size_t> offsets_;
};

// One attribute of a received message.
struct NetlinkAttribute {
  uint16_t type = 0;  // without the flags for nested and byte order
  std::string_view data;

  uint8_t U8() const { return data.empty() ? 0 : static_cast<uint8_t>(data[0]); }
  uint32_t U32() const;
  uint32_t Be32() const;
  uint64_t Be64() const;
  // Up to the first zero.
  std::string_view String() const { return data.substr(0, data.find('\0')); }
};

// The attributes in `data`; stops at the first that does not fit.
std::vector<NetlinkAttribute> ParseAttributes(std::string_view data);

struct NetlinkMessage {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  std::string_view payload;

  // The family's header, zeros when the payload is too short; attributes follow it.
  template <typename Header>
  Header HeaderAs() const {
    Header header{};
    if (payload.size() >= sizeof header) {
      __builtin_memcpy(&header, payload.data(), sizeof header);
    }
    return header;
  }
  template <typename Header>
  std::vector<NetlinkAttribute> AttributesAfter() const {
    size_t skip = NLMSG_ALIGN(sizeof(Header));
    return payload.size() < skip ? std::vector<NetlinkAttribute>{}
                                 : ParseAttributes(payload.substr(skip));
  }
};

// The messages in one datagram; stops at the first that does not fit.
std::vector<NetlinkMessage> ParseMessages(std::string_view datagram);

// The error in an NLMSG_ERROR message: 0 for an acknowledgement, else a positive errno, and the
// kernel's explanation if it gave one.
struct NetlinkAck {
  int error_number = 0;
  std::string text;
};
NetlinkAck ParseAck(const NetlinkMessage& message);

class NetlinkSocket {
 public:
  using Visitor = std::function<void(const NetlinkMessage&)>;

  NetlinkSocket() = default;
  // NETLINK_ROUTE, NETLINK_NETFILTER; in the calling thread's network namespace.
  static Result<NetlinkSocket> Open(int protocol);
  bool valid() const { return fd_.valid(); }
  BorrowedFd fd() const { return fd_; }

  // Sends the batch; every message must be acknowledged. Stops being atomic at the first failure:
  // the kernel goes on with the messages after it. The first error is returned.
  Result<> Transact(NetlinkBatch* batch);
  // Sends a batch of which only the last but one message (the last is NFNL_MSG_BATCH_END) is
  // acknowledged: all of it happened, or nothing.
  Result<> TransactAtomic(NetlinkBatch* batch);
  // Sends one dump request and shows every message of the answer. A dump that the kernel calls
  // inconsistent is asked for again; `restart` is called before that.
  Result<> Dump(NetlinkBatch* batch, const Visitor& visit, const std::function<void()>& restart);
  // Sends one request and shows its answers (NLM_F_ACK is added).
  Result<> Get(NetlinkBatch* batch, const Visitor& visit);

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<> Send(NetlinkBatch* batch);
  // Empty when nothing is queued and `wait` is false.
  Result<std::string_view> Receive(bool wait);
  Result<bool> DumpOnce(NetlinkBatch* batch, const Visitor& visit);
  void Drain();

  UniqueFd fd_;
  uint32_t next_sequence_ = 1;
  std::string buffer_;
};

}  // namespace gantry::kernel
