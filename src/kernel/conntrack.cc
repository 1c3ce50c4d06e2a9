// SPDX-License-Identifier: Apache-2.0
#include "kernel/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <algorithm>
#include <string>

namespace gantry::kernel {
namespace {

nfgenmsg Header() {
  nfgenmsg header{};
  header.nfgen_family = AF_INET;
  header.version = NFNETLINK_V0;
  return header;
}

uint16_t Type(uint16_t message) {
  return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | message);
}

struct Tracked {
  std::string tuple;  // CTA_TUPLE_ORIG as it came: it names the connection
  std::string id;
  uint8_t protocol = 0;
  in_addr answers_from{};
};

void ParseTuple(std::string_view data, Tracked* out) {
  for (const NetlinkAttribute& part : ParseAttributes(data)) {
    for (const NetlinkAttribute& field : ParseAttributes(part.data)) {
      if (part.type == CTA_TUPLE_IP && field.type == CTA_IP_V4_SRC) {
        out->answers_from.s_addr = field.U32();
      }
      if (part.type == CTA_TUPLE_PROTO && field.type == CTA_PROTO_NUM) out->protocol = field.U8();
    }
  }
}

Tracked Parse(const NetlinkMessage& message) {
  Tracked tracked;
  for (const NetlinkAttribute& attribute : message.AttributesAfter<nfgenmsg>()) {
    if (attribute.type == CTA_TUPLE_ORIG) tracked.tuple = attribute.data;
    if (attribute.type == CTA_TUPLE_REPLY) ParseTuple(attribute.data, &tracked);
    if (attribute.type == CTA_ID) tracked.id = attribute.data;
  }
  return tracked;
}

}  // namespace

Result<size_t> ForgetConnections(NetlinkSocket* socket, uint8_t protocol,
                                 const std::vector<in_addr>& sources) {
  std::vector<Tracked> found;
  NetlinkBatch dump;
  dump.Begin(Type(IPCTNL_MSG_CT_GET), 0, Header());
  auto visit = [&](const NetlinkMessage& message) {
    Tracked tracked = Parse(message);
    bool wanted = tracked.protocol == protocol &&
                  std::any_of(sources.begin(), sources.end(), [&](in_addr source) {
                    return source.s_addr == tracked.answers_from.s_addr;
                  });
    if (wanted) found.push_back(std::move(tracked));
  };
  TRY_WITH(socket->Dump(&dump, visit, [&] { found.clear(); }), "listing tracked connections");
  size_t forgotten = 0;
  for (const Tracked& tracked : found) {
    NetlinkBatch batch;
    batch.Begin(Type(IPCTNL_MSG_CT_DELETE), 0, Header());
    batch.Bytes(CTA_TUPLE_ORIG | NLA_F_NESTED, tracked.tuple);
    batch.Bytes(CTA_ID, tracked.id);
    auto deleted = socket->Transact(&batch);
    // It ended by itself in between.
    if (!deleted.ok() && deleted.error().kind() == ErrorKind::kNotFound) continue;
    TRY_WITH(std::move(deleted), "forgetting a tracked connection");
    ++forgotten;
  }
  return forgotten;
}

}  // namespace gantry::kernel
