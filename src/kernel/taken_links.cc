// SPDX-License-Identifier: Apache-2.0
#include "kernel/taken_links.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "kernel/link_header.h"

namespace gantry::kernel {
namespace {

template <typename Address>
void BeginRoute(NetlinkBatch* batch, uint8_t family, int index, const Address& subnet,
                uint8_t length, const std::optional<Address>& gateway) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_dst_len = length;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_STATIC;
  header.rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  header.rtm_type = RTN_UNICAST;
  batch->Begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header);
  batch->Attribute(RTA_DST, &subnet, sizeof subnet);
  if (gateway) batch->Attribute(RTA_GATEWAY, &*gateway, sizeof *gateway);
  batch->U32(RTA_OIF, static_cast<uint32_t>(index));
}

}  // namespace

void AppendMoveLink(NetlinkBatch* batch, int index, BorrowedFd netns, const std::string& name) {
  batch->Begin(RTM_NEWLINK, 0, ThisLink(index));
  batch->String(IFLA_IFNAME, name);
  batch->U32(IFLA_NET_NS_FD, static_cast<uint32_t>(netns.get()));
}

void AppendSetMac(NetlinkBatch* batch, int index, const HardwareAddress& mac) {
  batch->Begin(RTM_NEWLINK, 0, ThisLink(index));
  batch->Attribute(IFLA_ADDRESS, mac.data(), mac.size());
}

void AppendRoute(NetlinkBatch* batch, int index, in_addr subnet, uint8_t length,
                 const std::optional<in_addr>& gateway) {
  BeginRoute(batch, AF_INET, index, subnet, length, gateway);
}

void AppendRoute6(NetlinkBatch* batch, int index, const in6_addr& subnet, uint8_t length,
                  const std::optional<in6_addr>& gateway) {
  BeginRoute(batch, AF_INET6, index, subnet, length, gateway);
}

}  // namespace gantry::kernel
