// SPDX-License-Identifier: Apache-2.0
#include "kernel/netlink.h"

#include <arpa/inet.h>
#include <endian.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace gantry::kernel {
namespace {

// The kernel's largest dump datagram (NLMSG_GOODSIZE grows to what the reader offers, 32 KiB).
constexpr size_t kReceiveBytes = size_t{32} << 10;
constexpr int kDumpAttempts = 20;
constexpr int kMaxErrno = 4095;  // MAX_ERRNO of the kernel

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

Error AckError(const NetlinkAck& ack, std::string_view context) {
  Error error = ErrnoErrorOf(ack.error_number, context);
  if (!ack.text.empty()) error.AddHint(ack.text);
  return error;
}

}  // namespace

void NetlinkBatch::BeginMessage(uint16_t type, uint16_t flags, const void* header, size_t size) {
  Pad();
  offsets_.push_back(bytes_.size());
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = flags | NLM_F_REQUEST;
  bytes_.append(reinterpret_cast<const char*>(&message), sizeof message);
  bytes_.append(static_cast<const char*>(header), size);
  Pad();
  FixLength();
}

nlmsghdr* NetlinkBatch::MessageAt(size_t index) {
  return reinterpret_cast<nlmsghdr*>(bytes_.data() + offsets_[index]);
}

void NetlinkBatch::Pad() { bytes_.resize(NLMSG_ALIGN(bytes_.size()), '\0'); }

void NetlinkBatch::FixLength() {
  MessageAt(offsets_.size() - 1)->nlmsg_len = static_cast<uint32_t>(current_size());
}

void NetlinkBatch::Attribute(uint16_t type, const void* data, size_t size) {
  CHECK(size + NLA_HDRLEN <= UINT16_MAX);
  nlattr attribute{};
  attribute.nla_type = type;
  attribute.nla_len = static_cast<uint16_t>(NLA_HDRLEN + size);
  bytes_.append(reinterpret_cast<const char*>(&attribute), sizeof attribute);
  bytes_.append(static_cast<const char*>(data), size);
  Pad();
  FixLength();
}

void NetlinkBatch::Be32(uint16_t type, uint32_t value) { U32(type, htonl(value)); }

void NetlinkBatch::Be64(uint16_t type, uint64_t value) {
  uint64_t swapped = htobe64(value);
  Attribute(type, &swapped, sizeof swapped);
}

void NetlinkBatch::String(uint16_t type, std::string_view value) {
  Bytes(type, std::string(value) + '\0');
}

size_t NetlinkBatch::BeginNest(uint16_t type) {
  size_t nest = bytes_.size();
  Attribute(type | NLA_F_NESTED, nullptr, 0);
  return nest;
}

void NetlinkBatch::EndNest(size_t nest) {
  size_t size = bytes_.size() - nest;
  CHECK(size <= UINT16_MAX);
  reinterpret_cast<nlattr*>(bytes_.data() + nest)->nla_len = static_cast<uint16_t>(size);
}

void NetlinkBatch::Raw(const void* data, size_t size) {
  bytes_.append(static_cast<const char*>(data), size);
  Pad();
  FixLength();
}

uint32_t NetlinkAttribute::U32() const {
  uint32_t value = 0;
  if (data.size() >= sizeof value) std::memcpy(&value, data.data(), sizeof value);
  return value;
}

uint32_t NetlinkAttribute::Be32() const { return ntohl(U32()); }

uint64_t NetlinkAttribute::Be64() const {
  uint64_t value = 0;
  if (data.size() >= sizeof value) std::memcpy(&value, data.data(), sizeof value);
  return be64toh(value);
}

std::vector<NetlinkAttribute> ParseAttributes(std::string_view data) {
  std::vector<NetlinkAttribute> attributes;
  while (data.size() >= NLA_HDRLEN) {
    nlattr header;
    std::memcpy(&header, data.data(), sizeof header);
    if (header.nla_len < NLA_HDRLEN || header.nla_len > data.size()) break;
    attributes.push_back({static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
                          data.substr(NLA_HDRLEN, header.nla_len - NLA_HDRLEN)});
    data.remove_prefix(std::min<size_t>(NLA_ALIGN(header.nla_len), data.size()));
  }
  return attributes;
}

std::vector<NetlinkMessage> ParseMessages(std::string_view datagram) {
  std::vector<NetlinkMessage> messages;
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > datagram.size()) break;
    messages.push_back({header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq,
                        datagram.substr(sizeof header, header.nlmsg_len - sizeof header)});
    datagram.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
  return messages;
}

NetlinkAck ParseAck(const NetlinkMessage& message) {
  NetlinkAck ack;
  auto error = message.HeaderAs<nlmsgerr>();
  // A kernel that answers with something shorter than its own struct has said nothing.
  if (message.payload.size() < sizeof error) return {EPROTO, "short answer"};
  // A negated errno, or 0 (netlink(7)).
  if (error.error > 0 || error.error < -kMaxErrno) return {EPROTO, "no error number"};
  ack.error_number = -error.error;
  if ((message.flags & NLM_F_ACK_TLVS) == 0) return ack;
  size_t skip = sizeof error;
  if ((message.flags & NLM_F_CAPPED) == 0 && error.msg.nlmsg_len > sizeof(nlmsghdr)) {
    skip += NLMSG_ALIGN(error.msg.nlmsg_len) - sizeof(nlmsghdr);
  }
  if (skip > message.payload.size()) return ack;
  for (const NetlinkAttribute& attribute : ParseAttributes(message.payload.substr(skip))) {
    if (attribute.type == NLMSGERR_ATTR_MSG) ack.text = attribute.String();
  }
  return ack;
}

Result<NetlinkSocket> NetlinkSocket::Open(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return ErrnoError("opening a netlink socket");
  int one = 1;
  // Without these the answers are only longer (CAP_ACK) or have no text (EXT_ACK).
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  // Room for an error per message of a large batch; beyond rmem_max only with CAP_NET_ADMIN.
  int bytes = 4 << 20;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  return NetlinkSocket(std::move(fd));
}

Result<> NetlinkSocket::Send(NetlinkBatch* batch) {
  // What a call that failed in between may have left.
  Drain();
  for (size_t i = 0; i < batch->message_count(); ++i) {
    batch->MessageAt(i)->nlmsg_seq = next_sequence_ + static_cast<uint32_t>(i);
  }
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent = ::sendto(fd_.get(), batch->bytes().data(), batch->bytes().size(), 0,
                          reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  if (sent < 0) return ErrnoError("sending a netlink batch");
  return {};
}

void NetlinkSocket::Drain() {
  char byte;
  while (::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0) {
  }
}

Result<std::string_view> NetlinkSocket::Receive(bool wait) {
  buffer_.resize(kReceiveBytes);
  for (;;) {
    ssize_t size =
        ::recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN && !wait) return std::string_view();
    if (size < 0) return ErrnoError("receiving from netlink");
    if (static_cast<size_t>(size) > buffer_.size()) {
      return Internal("receiving from netlink: a message of {} bytes does not fit", size);
    }
    return std::string_view(buffer_.data(), static_cast<size_t>(size));
  }
}

Result<> NetlinkSocket::Transact(NetlinkBatch* batch) {
  size_t count = batch->message_count();
  for (size_t i = 0; i < count; ++i) batch->MessageAt(i)->nlmsg_flags |= NLM_F_ACK;
  TRY(Send(batch));
  uint32_t first = std::exchange(next_sequence_, next_sequence_ + static_cast<uint32_t>(count));
  size_t acknowledged = 0;
  std::optional<Error> failure;
  while (acknowledged < count) {
    std::string_view datagram = TRY(Receive(false));
    if (datagram.empty()) break;
    for (const NetlinkMessage& message : ParseMessages(datagram)) {
      uint32_t index = message.sequence - first;
      if (message.type != NLMSG_ERROR || index >= count) continue;
      ++acknowledged;
      NetlinkAck ack = ParseAck(message);
      if (ack.error_number != 0 && !failure) {
        failure = AckError(ack, fmt::format("netlink message {} of {}", index + 1, count));
      }
    }
  }
  if (failure) return *std::move(failure);
  if (acknowledged < count) return Internal("netlink acknowledged {} of {}", acknowledged, count);
  return {};
}

Result<> NetlinkSocket::TransactAtomic(NetlinkBatch* batch) {
  size_t count = batch->message_count();
  CHECK(count >= 3);
  // The answers are delivered after the commit, in order, so the last one vouches for all.
  batch->MessageAt(count - 2)->nlmsg_flags |= NLM_F_ACK;
  TRY(Send(batch));
  uint32_t first = std::exchange(next_sequence_, next_sequence_ + static_cast<uint32_t>(count));
  bool acknowledged = false;
  std::optional<Error> failure;
  for (;;) {
    std::string_view datagram = TRY(Receive(false));
    if (datagram.empty()) break;
    for (const NetlinkMessage& message : ParseMessages(datagram)) {
      uint32_t index = message.sequence - first;
      if (message.type != NLMSG_ERROR || index >= count) continue;
      NetlinkAck ack = ParseAck(message);
      if (ack.error_number == 0 && index == count - 2) acknowledged = true;
      if (ack.error_number != 0 && !failure) {
        failure = AckError(ack, fmt::format("netlink message {} of {}", index, count - 2));
      }
    }
  }
  if (failure) return *std::move(failure);
  if (!acknowledged) return Internal("netlink did not acknowledge a transaction");
  return {};
}

Result<> NetlinkSocket::Get(NetlinkBatch* batch, const Visitor& visit) {
  CHECK(batch->message_count() == 1);
  batch->MessageAt(0)->nlmsg_flags |= NLM_F_ACK;
  TRY(Send(batch));
  uint32_t sequence = next_sequence_++;
  for (;;) {
    std::string_view datagram = TRY(Receive(false));
    if (datagram.empty()) return Internal("netlink did not answer");
    for (const NetlinkMessage& message : ParseMessages(datagram)) {
      if (message.sequence != sequence) continue;
      if (message.type != NLMSG_ERROR) {
        visit(message);
        continue;
      }
      NetlinkAck ack = ParseAck(message);
      if (ack.error_number != 0) return AckError(ack, "netlink request");
      return {};
    }
  }
}

Result<> NetlinkSocket::Dump(NetlinkBatch* batch, const Visitor& visit,
                             const std::function<void()>& restart) {
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    restart();
    if (TRY(DumpOnce(batch, visit))) return {};
  }
  return Unavailable("dumping from netlink: it changed {} times meanwhile", kDumpAttempts);
}

// False when the kernel's data changed between two parts of the answer.
Result<bool> NetlinkSocket::DumpOnce(NetlinkBatch* batch, const Visitor& visit) {
  CHECK(batch->message_count() == 1);
  batch->MessageAt(0)->nlmsg_flags |= NLM_F_DUMP;
  TRY(Send(batch));
  uint32_t sequence = next_sequence_++;
  bool consistent = true;
  for (;;) {
    std::string_view datagram = TRY(Receive(true));
    for (const NetlinkMessage& message : ParseMessages(datagram)) {
      if (message.sequence != sequence) continue;
      if ((message.flags & NLM_F_DUMP_INTR) != 0) consistent = false;
      if (message.type == NLMSG_DONE) {
        int status = message.HeaderAs<int>();
        if (status == -EINTR || status == -EAGAIN) return false;
        if (status < 0) return ErrnoErrorOf(-status, "dumping from netlink");
        return consistent;
      }
      if (message.type == NLMSG_ERROR) {
        NetlinkAck ack = ParseAck(message);
        if (ack.error_number == EINTR || ack.error_number == EAGAIN) return false;
        if (ack.error_number != 0) return AckError(ack, "dumping from netlink");
        continue;
      }
      visit(message);
    }
  }
}

}  // namespace gantry::kernel
