// SPDX-License-Identifier: Apache-2.0
#include "kernel/tunnel.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <cstring>

#include "kernel/link_header.h"

namespace gantry::kernel {
namespace {

ndmsg Entry(uint8_t family, int index, uint16_t state, uint8_t flags) {
  ndmsg header{};
  header.ndm_family = family;
  header.ndm_ifindex = index;
  header.ndm_state = state;
  header.ndm_flags = flags;
  return header;
}

constexpr uint16_t kReplace = NLM_F_CREATE | NLM_F_REPLACE;

// Entries of this family at this interface.
template <typename Visit>
Result<> DumpEntries(NetlinkSocket* socket, uint8_t family, int index, Visit visit,
                     const std::function<void()>& restart) {
  NetlinkBatch batch;
  ndmsg request{};
  request.ndm_family = family;
  batch.Begin(RTM_GETNEIGH, 0, request);
  auto each = [&](const NetlinkMessage& message) {
    auto header = message.HeaderAs<ndmsg>();
    if (message.type != RTM_NEWNEIGH || header.ndm_family != family) return;
    if (header.ndm_ifindex == index) visit(header, message.AttributesAfter<ndmsg>());
  };
  return socket->Dump(&batch, each, restart);
}

// False when the attribute has another size.
template <typename T>
bool Copy(const NetlinkAttribute& attribute, T* out) {
  if (attribute.data.size() != sizeof *out) return false;
  std::memcpy(out, attribute.data.data(), sizeof *out);
  return true;
}

template <typename Item, typename Address>
Result<std::vector<Item>> ListFamily(NetlinkSocket* socket, uint8_t family, int index,
                                     Address Item::* address) {
  std::vector<Item> found;
  auto visit = [&](const ndmsg& header, const std::vector<NetlinkAttribute>& attributes) {
    if ((header.ndm_state & NUD_PERMANENT) == 0) return;
    Item item;
    bool told = false;
    for (const NetlinkAttribute& attribute : attributes) {
      if (attribute.type == NDA_DST) told = Copy(attribute, &(item.*address));
      if (attribute.type == NDA_LLADDR) Copy(attribute, &item.mac);
    }
    if (told) found.push_back(item);
  };
  TRY_WITH(DumpEntries(socket, family, index, visit, [&] { found.clear(); }),
           "listing a tunnel's neighbours");
  return found;
}

}  // namespace

void AppendCreateTunnel(NetlinkBatch* batch, const TunnelSpec& spec) {
  batch->Begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, UpLink(0));
  batch->String(IFLA_IFNAME, spec.name);
  batch->U32(IFLA_MTU, spec.mtu);
  if (spec.master != 0) batch->U32(IFLA_MASTER, static_cast<uint32_t>(spec.master));
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "vxlan");
  size_t data = batch->BeginNest(IFLA_INFO_DATA);
  batch->U32(IFLA_VXLAN_ID, spec.vni);
  batch->Attribute(IFLA_VXLAN_LOCAL, &spec.local, sizeof spec.local);
  batch->U16(IFLA_VXLAN_PORT, htons(spec.port));
  batch->U8(IFLA_VXLAN_LEARNING, 0);
  batch->U8(IFLA_VXLAN_PROXY, 1);
  batch->EndNest(data);
  batch->EndNest(info);
}

Result<in_addr> TunnelLocal(NetlinkSocket* socket, int index) {
  in_addr local{};
  NetlinkBatch batch;
  batch.Begin(RTM_GETLINK, 0, ThisLink(index));
  auto look = [&](const NetlinkMessage& message) {
    for (const NetlinkAttribute& attribute : message.AttributesAfter<ifinfomsg>()) {
      if (attribute.type != IFLA_LINKINFO) continue;
      for (const NetlinkAttribute& info : ParseAttributes(attribute.data)) {
        if (info.type != IFLA_INFO_DATA) continue;
        for (const NetlinkAttribute& item : ParseAttributes(info.data)) {
          if (item.type == IFLA_VXLAN_LOCAL) Copy(item, &local);
        }
      }
    }
  };
  TRY_WITH(socket->Get(&batch, look), "looking at a tunnel");
  return local;
}

void AppendForward(NetlinkBatch* batch, int index, const HardwareAddress& mac, in_addr host) {
  batch->Begin(RTM_NEWNEIGH, kReplace, Entry(PF_BRIDGE, index, NUD_PERMANENT, NTF_SELF));
  batch->Attribute(NDA_LLADDR, mac.data(), mac.size());
  batch->Attribute(NDA_DST, &host, sizeof host);
  // To a bridge NUD_PERMANENT says that the address is its own.
  batch->Begin(RTM_NEWNEIGH, kReplace, Entry(PF_BRIDGE, index, NUD_NOARP, NTF_MASTER));
  batch->Attribute(NDA_LLADDR, mac.data(), mac.size());
}

void AppendForgetForward(NetlinkBatch* batch, int index, const HardwareAddress& mac) {
  for (uint8_t whose : {NTF_SELF, NTF_MASTER}) {
    batch->Begin(RTM_DELNEIGH, 0, Entry(PF_BRIDGE, index, 0, whose));
    batch->Attribute(NDA_LLADDR, mac.data(), mac.size());
  }
}

void AppendNeighbour(NetlinkBatch* batch, int index, in_addr address, const HardwareAddress& mac) {
  batch->Begin(RTM_NEWNEIGH, kReplace, Entry(AF_INET, index, NUD_PERMANENT, 0));
  batch->Attribute(NDA_DST, &address, sizeof address);
  batch->Attribute(NDA_LLADDR, mac.data(), mac.size());
}

void AppendNeighbour6(NetlinkBatch* batch, int index, const in6_addr& address,
                      const HardwareAddress& mac) {
  batch->Begin(RTM_NEWNEIGH, kReplace, Entry(AF_INET6, index, NUD_PERMANENT, 0));
  batch->Attribute(NDA_DST, &address, sizeof address);
  batch->Attribute(NDA_LLADDR, mac.data(), mac.size());
}

void AppendForgetNeighbour(NetlinkBatch* batch, int index, in_addr address) {
  batch->Begin(RTM_DELNEIGH, 0, Entry(AF_INET, index, 0, 0));
  batch->Attribute(NDA_DST, &address, sizeof address);
}

void AppendForgetNeighbour6(NetlinkBatch* batch, int index, const in6_addr& address) {
  batch->Begin(RTM_DELNEIGH, 0, Entry(AF_INET6, index, 0, 0));
  batch->Attribute(NDA_DST, &address, sizeof address);
}

Result<std::vector<Forward>> ListForwards(NetlinkSocket* socket, int index) {
  std::vector<Forward> found;
  auto visit = [&](const ndmsg& header, const std::vector<NetlinkAttribute>& attributes) {
    if ((header.ndm_flags & NTF_SELF) == 0) return;
    Forward item;
    bool told = false;
    for (const NetlinkAttribute& attribute : attributes) {
      if (attribute.type == NDA_DST) told = Copy(attribute, &item.host);
      if (attribute.type == NDA_LLADDR) Copy(attribute, &item.mac);
    }
    if (told) found.push_back(item);
  };
  TRY_WITH(DumpEntries(socket, PF_BRIDGE, index, visit, [&] { found.clear(); }),
           "listing a tunnel's forwards");
  return found;
}

Result<std::vector<Neighbour>> ListNeighbours(NetlinkSocket* socket, int index) {
  return ListFamily(socket, AF_INET, index, &Neighbour::address);
}

Result<std::vector<Neighbour6>> ListNeighbours6(NetlinkSocket* socket, int index) {
  return ListFamily(socket, AF_INET6, index, &Neighbour6::address);
}

}  // namespace gantry::kernel
