// SPDX-License-Identifier: Apache-2.0
#include "kernel/neighbour_answers.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>

#include "kernel/interface_settings.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {
namespace {

ndmsg AnswerEntry(int index) {
  ndmsg header{};
  header.ndm_family = AF_INET6;
  header.ndm_ifindex = index;
  header.ndm_flags = NTF_PROXY;
  return header;
}

bool SameAddress(const in6_addr& a, const in6_addr& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

bool HasAddress(const std::vector<in6_addr>& addresses, const in6_addr& address) {
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const in6_addr& item) { return SameAddress(item, address); });
}

// Whom the interface answers for.
Result<std::vector<in6_addr>> ListAnswers6(NetlinkSocket* socket, int index) {
  std::vector<in6_addr> found;
  NetlinkBatch batch;
  batch.Begin(RTM_GETNEIGH, 0, AnswerEntry(0));
  auto visit = [&](const NetlinkMessage& message) {
    auto header = message.HeaderAs<ndmsg>();
    bool answers = message.type == RTM_NEWNEIGH && (header.ndm_flags & NTF_PROXY) != 0;
    if (!answers || header.ndm_ifindex != index) return;
    for (const NetlinkAttribute& attribute : message.AttributesAfter<ndmsg>()) {
      in6_addr address{};
      if (attribute.type != NDA_DST || attribute.data.size() != sizeof address) continue;
      std::memcpy(&address, attribute.data.data(), sizeof address);
      found.push_back(address);
    }
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { found.clear(); }), "listing proxied neighbours");
  return found;
}

}  // namespace

Result<> AnswerForNeighbours(const std::string& interface, bool on) {
  // Else the kernel waits up to 0.8 s before it answers for others.
  if (on) TRY(SetInterfaceSetting("ipv4", "neigh", interface, "proxy_delay", "0"));
  return SetInterfaceSetting("ipv4", "conf", interface, "proxy_arp_pvlan", on ? "1" : "0");
}

Result<> AnswerForNeighbours6(NetlinkSocket* socket, const std::string& interface,
                              const std::vector<in6_addr>& addresses) {
  int index = TRY(LinkIndex(*socket, interface));
  std::vector<in6_addr> answered = TRY(ListAnswers6(socket, index));
  NetlinkBatch batch;
  auto append = [&](uint16_t message, uint16_t flags, const in6_addr& address) {
    batch.Begin(message, flags, AnswerEntry(index));
    batch.Attribute(NDA_DST, &address, sizeof address);
  };
  for (const in6_addr& address : answered) {
    if (!HasAddress(addresses, address)) append(RTM_DELNEIGH, 0, address);
  }
  for (const in6_addr& address : addresses) {
    if (!HasAddress(answered, address)) append(RTM_NEWNEIGH, NLM_F_CREATE, address);
  }
  if (!addresses.empty()) {
    TRY(SetInterfaceSetting("ipv6", "neigh", interface, "proxy_delay", "0"));
    TRY(SetInterfaceSetting("ipv6", "conf", interface, "proxy_ndp", "1"));
  }
  return batch.message_count() > 0 ? socket->Transact(&batch) : Result<>();
}

}  // namespace gantry::kernel
