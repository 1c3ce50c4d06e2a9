// SPDX-License-Identifier: Apache-2.0
#include "kernel/sub_links.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include "kernel/link_header.h"

namespace gantry::kernel {
namespace {

void BeginSubLink(NetlinkBatch* batch, const SubLinkSpec& spec) {
  batch->Begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ThisLink(0));
  batch->String(IFLA_IFNAME, spec.name);
  batch->U32(IFLA_LINK, static_cast<uint32_t>(spec.parent));
  batch->U32(IFLA_NET_NS_FD, static_cast<uint32_t>(spec.netns.get()));
}

void BeginUpLink(NetlinkBatch* batch, const std::string& name) {
  batch->Begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, UpLink(0));
  batch->String(IFLA_IFNAME, name);
}

}  // namespace

void AppendCreateMacvlan(NetlinkBatch* batch, const SubLinkSpec& spec, MacvlanMode mode) {
  BeginSubLink(batch, spec);
  if (spec.mac) batch->Attribute(IFLA_ADDRESS, spec.mac->data(), spec.mac->size());
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "macvlan");
  size_t data = batch->BeginNest(IFLA_INFO_DATA);
  batch->U32(IFLA_MACVLAN_MODE, static_cast<uint32_t>(mode));
  batch->EndNest(data);
  batch->EndNest(info);
}

void AppendCreateIpvlan(NetlinkBatch* batch, const SubLinkSpec& spec, IpvlanMode mode,
                        IpvlanFlag flag) {
  BeginSubLink(batch, spec);
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "ipvlan");
  size_t data = batch->BeginNest(IFLA_INFO_DATA);
  batch->U16(IFLA_IPVLAN_MODE, static_cast<uint16_t>(mode));
  batch->U16(IFLA_IPVLAN_FLAGS, static_cast<uint16_t>(flag));
  batch->EndNest(data);
  batch->EndNest(info);
}

void AppendCreateVlan(NetlinkBatch* batch, const std::string& name, int parent, uint16_t id) {
  BeginUpLink(batch, name);
  batch->U32(IFLA_LINK, static_cast<uint32_t>(parent));
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "vlan");
  size_t data = batch->BeginNest(IFLA_INFO_DATA);
  batch->U16(IFLA_VLAN_ID, id);
  batch->EndNest(data);
  batch->EndNest(info);
}

void AppendCreateDummy(NetlinkBatch* batch, const std::string& name) {
  BeginUpLink(batch, name);
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "dummy");
  batch->EndNest(info);
}

void AppendCreatePair(NetlinkBatch* batch, const std::string& name, const std::string& peer) {
  BeginUpLink(batch, name);
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "veth");
  size_t data = batch->BeginNest(IFLA_INFO_DATA);
  size_t other = batch->BeginNest(VETH_INFO_PEER);
  // Up only later: the kernel opens it before the pair is joined, which fails (ENOTCONN).
  ifinfomsg peer_header = ThisLink(0);
  batch->Raw(&peer_header, sizeof peer_header);
  batch->String(IFLA_IFNAME, peer);
  batch->EndNest(other);
  batch->EndNest(data);
  batch->EndNest(info);
}

}  // namespace gantry::kernel
