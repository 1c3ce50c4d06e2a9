// SPDX-License-Identifier: Apache-2.0
#include "kernel/link_rate.h"

#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace gantry::kernel {
namespace {

// Handles that tell ours from others': the root, its one class, and the queue of that.
constexpr uint32_t kRoot = 0x6774U << 16;
constexpr uint32_t kClass = kRoot | 1;
constexpr uint32_t kQueue = 0x6775U << 16;

// htb's, of which the kernel only looks at the major version.
constexpr uint32_t kHtbVersion = 3;
// What one class sends in its turn; there is one class.
constexpr uint32_t kQuantum = 64 << 10;
constexpr uint64_t kBitsPerByte = 8;

// Times of htb are in ticks of 64 ns (PSCHED_SHIFT, include/net/pkt_sched.h).
constexpr uint32_t Ticks(uint64_t milliseconds) {
  return static_cast<uint32_t>(milliseconds * 1'000'000 / 64);
}
// What was not sent while a timer was late may be sent after it.
constexpr uint32_t kLateness = Ticks(20);
constexpr uint32_t kBurst = Ticks(1000);

// What waits, in time at the rate: longer queues make everything late, shorter ones hold no packet
// of 64 KiB, which the interface cuts up later.
constexpr uint64_t kQueuesPerSecond = 10;
constexpr uint64_t kMinQueue = 128 << 10;

tcmsg Header(int index, uint32_t parent, uint32_t handle) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = index;
  header.tcm_parent = parent;
  header.tcm_handle = handle;
  return header;
}

tc_ratespec RateSpec(uint64_t bytes) {
  tc_ratespec spec{};
  spec.linklayer = TC_LINKLAYER_ETHERNET;
  spec.rate = static_cast<uint32_t>(
      std::min<uint64_t>(bytes, std::numeric_limits<decltype(spec.rate)>::max()));
  return spec;
}

void AppendRoot(NetlinkBatch* batch, int index) {
  batch->Begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, Header(index, TC_H_ROOT, kRoot));
  batch->String(TCA_KIND, "htb");
  size_t options = batch->BeginNest(TCA_OPTIONS);
  tc_htb_glob init{};
  init.version = kHtbVersion;
  init.rate2quantum = 10;
  init.defcls = TC_H_MIN(kClass);
  batch->Attribute(TCA_HTB_INIT, &init, sizeof init);
  batch->EndNest(options);
}

void AppendClass(NetlinkBatch* batch, int index, const LinkRate& rate) {
  uint64_t bytes = rate.rate / kBitsPerByte, ceil_bytes = rate.ceil / kBitsPerByte;
  batch->Begin(RTM_NEWTCLASS, NLM_F_CREATE, Header(index, kRoot, kClass));
  batch->String(TCA_KIND, "htb");
  size_t options = batch->BeginNest(TCA_OPTIONS);
  tc_htb_opt parameters{};
  parameters.rate = RateSpec(bytes);
  parameters.ceil = RateSpec(ceil_bytes);
  parameters.buffer = rate.ceil > rate.rate ? kBurst : kLateness;
  parameters.cbuffer = kLateness;
  parameters.quantum = kQuantum;
  // Beyond 32 bits the kernel takes these in place of the others.
  batch->Attribute(TCA_HTB_RATE64, &bytes, sizeof bytes);
  batch->Attribute(TCA_HTB_CEIL64, &ceil_bytes, sizeof ceil_bytes);
  batch->Attribute(TCA_HTB_PARMS, &parameters, sizeof parameters);
  batch->EndNest(options);
}

void AppendQueue(NetlinkBatch* batch, int index, const LinkRate& rate) {
  batch->Begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, Header(index, kClass, kQueue));
  batch->String(TCA_KIND, "bfifo");
  tc_fifo_qopt queue{};
  queue.limit = static_cast<uint32_t>(std::clamp<uint64_t>(
      rate.rate / kBitsPerByte / kQueuesPerSecond, kMinQueue, std::numeric_limits<int>::max()));
  batch->Attribute(TCA_OPTIONS, &queue, sizeof queue);
}

}  // namespace

Result<> SetLinkRate(NetlinkSocket* socket, int index, const LinkRate& rate) {
  NetlinkBatch root;
  AppendRoot(&root, index);
  auto made = socket->Transact(&root);
  if (!made.ok() && made.error().error_number() == ENOENT) {
    return FailedPrecondition("the kernel has no htb (CONFIG_NET_SCH_HTB), which limits rates");
  }
  // It has it already, or somebody else's; the class tells.
  if (!made.ok() && made.error().error_number() != EEXIST) return made;
  NetlinkBatch batch;
  AppendClass(&batch, index, rate);
  AppendQueue(&batch, index, rate);
  auto set = socket->Transact(&batch);
  if (!set.ok() && !made.ok() && !TRY(LinksWithRate(socket)).contains(index)) {
    return FailedPrecondition("interface {} has another program's queue", index);
  }
  return set;
}

Result<> RemoveLinkRate(NetlinkSocket* socket, int index) {
  if (!TRY(LinksWithRate(socket)).contains(index)) return {};
  NetlinkBatch batch;
  batch.Begin(RTM_DELQDISC, 0, Header(index, TC_H_ROOT, kRoot));
  auto removed = socket->Transact(&batch);
  // Gone with its interface in between.
  if (!removed.ok() && removed.error().error_number() == ENODEV) return {};
  return removed;
}

Result<std::set<int>> LinksWithRate(NetlinkSocket* socket) {
  std::set<int> links;
  NetlinkBatch batch;
  batch.Begin(RTM_GETQDISC, 0, Header(0, 0, 0));
  auto visit = [&](const NetlinkMessage& message) {
    if (message.type != RTM_NEWQDISC) return;
    auto header = message.HeaderAs<tcmsg>();
    if (header.tcm_handle == kRoot) links.insert(header.tcm_ifindex);
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { links.clear(); }), "listing queues of interfaces");
  return links;
}

}  // namespace gantry::kernel
