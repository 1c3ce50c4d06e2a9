// SPDX-License-Identifier: Apache-2.0
#include "kernel/rtnetlink.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>

#include "kernel/link_header.h"

namespace gantry::kernel {

void AppendCreateVeth(NetlinkBatch* batch, const VethSpec& spec) {
  batch->Begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, UpLink(0));
  batch->String(IFLA_IFNAME, spec.name);
  batch->U32(IFLA_MTU, spec.mtu);
  if (spec.master != 0) batch->U32(IFLA_MASTER, static_cast<uint32_t>(spec.master));
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "veth");
  size_t data = batch->BeginNest(IFLA_INFO_DATA);
  size_t peer = batch->BeginNest(VETH_INFO_PEER);
  // Not up yet: the kernel opens it before the pair is joined, which fails (ENOTCONN).
  ifinfomsg peer_header = ThisLink(0);
  batch->Raw(&peer_header, sizeof peer_header);
  batch->String(IFLA_IFNAME, spec.peer);
  batch->U32(IFLA_NET_NS_FD, static_cast<uint32_t>(spec.peer_netns.get()));
  batch->U32(IFLA_MTU, spec.mtu);
  batch->Attribute(IFLA_ADDRESS, spec.peer_mac.data(), spec.peer_mac.size());
  batch->EndNest(peer);
  batch->EndNest(data);
  batch->EndNest(info);
}

void AppendCreateBridge(NetlinkBatch* batch, const std::string& name, const HardwareAddress& mac,
                        uint32_t mtu) {
  batch->Begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, UpLink(0));
  batch->String(IFLA_IFNAME, name);
  batch->U32(IFLA_MTU, mtu);
  batch->Attribute(IFLA_ADDRESS, mac.data(), mac.size());
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_KIND, "bridge");
  batch->EndNest(info);
}

void AppendLinkUp(NetlinkBatch* batch, int index) { batch->Begin(RTM_NEWLINK, 0, UpLink(index)); }

void AppendSetMtu(NetlinkBatch* batch, int index, uint32_t mtu) {
  batch->Begin(RTM_NEWLINK, 0, ThisLink(index));
  batch->U32(IFLA_MTU, mtu);
}

void AppendRenameLink(NetlinkBatch* batch, int index, const std::string& name) {
  batch->Begin(RTM_NEWLINK, 0, ThisLink(index));
  batch->String(IFLA_IFNAME, name);
}

void AppendSetMaster(NetlinkBatch* batch, int index, int master) {
  batch->Begin(RTM_NEWLINK, 0, ThisLink(index));
  batch->U32(IFLA_MASTER, static_cast<uint32_t>(master));
}

void AppendIsolatePort(NetlinkBatch* batch, const std::string& name) {
  batch->Begin(RTM_NEWLINK, 0, ThisLink(0));
  batch->String(IFLA_IFNAME, name);
  size_t info = batch->BeginNest(IFLA_LINKINFO);
  batch->String(IFLA_INFO_SLAVE_KIND, "bridge");
  size_t data = batch->BeginNest(IFLA_INFO_SLAVE_DATA);
  uint8_t one = 1;
  batch->Attribute(IFLA_BRPORT_ISOLATED, &one, sizeof one);
  batch->EndNest(data);
  batch->EndNest(info);
}

void AppendDeleteLink(NetlinkBatch* batch, int index) {
  batch->Begin(RTM_DELLINK, 0, ThisLink(index));
}

void AppendAddAddress(NetlinkBatch* batch, int index, in_addr address, uint8_t prefix_length) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = prefix_length;
  header.ifa_index = static_cast<uint32_t>(index);
  batch->Begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header);
  batch->Attribute(IFA_LOCAL, &address, sizeof address);
  batch->Attribute(IFA_ADDRESS, &address, sizeof address);
  if (prefix_length < 31) {
    in_addr broadcast{address.s_addr | ~htonl(~uint32_t{0} << (32 - prefix_length))};
    if (prefix_length == 0) broadcast.s_addr = ~uint32_t{0};
    batch->Attribute(IFA_BROADCAST, &broadcast, sizeof broadcast);
  }
}

void AppendDeleteAddress(NetlinkBatch* batch, int index, in_addr address, uint8_t prefix_length) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = prefix_length;
  header.ifa_index = static_cast<uint32_t>(index);
  batch->Begin(RTM_DELADDR, 0, header);
  batch->Attribute(IFA_LOCAL, &address, sizeof address);
}

namespace {

ifaddrmsg Address6(int index, uint8_t prefix_length) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET6;
  header.ifa_prefixlen = prefix_length;
  header.ifa_index = static_cast<uint32_t>(index);
  return header;
}

rtmsg DefaultRoute(uint8_t family) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_BOOT;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  return header;
}

}  // namespace

void AppendAddAddress6(NetlinkBatch* batch, int index, const in6_addr& address,
                       uint8_t prefix_length) {
  ifaddrmsg header = Address6(index, prefix_length);
  header.ifa_flags = IFA_F_NODAD;
  batch->Begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header);
  batch->Attribute(IFA_ADDRESS, &address, sizeof address);
}

void AppendDeleteAddress6(NetlinkBatch* batch, int index, const in6_addr& address,
                          uint8_t prefix_length) {
  batch->Begin(RTM_DELADDR, 0, Address6(index, prefix_length));
  batch->Attribute(IFA_ADDRESS, &address, sizeof address);
}

void AppendDefaultRoute(NetlinkBatch* batch, in_addr gateway) {
  batch->Begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, DefaultRoute(AF_INET));
  batch->Attribute(RTA_GATEWAY, &gateway, sizeof gateway);
}

Result<> DeleteDefaultRoutes(NetlinkSocket* socket, int index) {
  for (uint8_t family : {AF_INET, AF_INET6}) {
    for (;;) {
      NetlinkBatch batch;
      rtmsg header = DefaultRoute(family);
      // Whoever made it, and whatever way.
      header.rtm_protocol = RTPROT_UNSPEC;
      header.rtm_scope = RT_SCOPE_NOWHERE;
      batch.Begin(RTM_DELROUTE, 0, header);
      batch.U32(RTA_OIF, static_cast<uint32_t>(index));
      auto deleted = socket->Transact(&batch);
      if (!deleted.ok() && deleted.error().error_number() == ESRCH) break;
      TRY(std::move(deleted));
    }
  }
  return {};
}

void AppendDefaultRoute6(NetlinkBatch* batch, int index, const in6_addr& gateway) {
  batch->Begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, DefaultRoute(AF_INET6));
  batch->Attribute(RTA_GATEWAY, &gateway, sizeof gateway);
  batch->U32(RTA_OIF, static_cast<uint32_t>(index));
}

void AppendDefaultDevice(NetlinkBatch* batch, int index, uint8_t family) {
  rtmsg route = DefaultRoute(family);
  if (family == AF_INET) route.rtm_scope = RT_SCOPE_LINK;
  batch->Begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
  batch->U32(RTA_OIF, static_cast<uint32_t>(index));
}

namespace {

Link ParseLink(const NetlinkMessage& message) {
  Link link;
  auto header = message.HeaderAs<ifinfomsg>();
  link.index = header.ifi_index;
  link.up = (header.ifi_flags & IFF_UP) != 0;
  for (const NetlinkAttribute& attribute : message.AttributesAfter<ifinfomsg>()) {
    switch (attribute.type) {
      case IFLA_IFNAME:
        link.name = attribute.String();
        break;
      case IFLA_MASTER:
        link.master = static_cast<int>(attribute.U32());
        break;
      case IFLA_MTU:
        link.mtu = attribute.U32();
        break;
      case IFLA_ADDRESS:
        if (attribute.data.size() == link.mac.size()) {
          std::memcpy(link.mac.data(), attribute.data.data(), link.mac.size());
        }
        break;
      case IFLA_LINKINFO:
        for (const NetlinkAttribute& info : ParseAttributes(attribute.data)) {
          if (info.type == IFLA_INFO_KIND) link.kind = info.String();
        }
        break;
      default:
        break;
    }
  }
  return link;
}

in_addr AddressOf(const NetlinkAttribute& attribute) { return in_addr{attribute.U32()}; }

in6_addr AddressOf6(const NetlinkAttribute& attribute) {
  in6_addr address{};
  if (attribute.data.size() == sizeof address) {
    std::memcpy(&address, attribute.data.data(), sizeof address);
  }
  return address;
}

}  // namespace

Result<std::vector<Link>> ListLinks(NetlinkSocket* socket) {
  std::vector<Link> links;
  NetlinkBatch batch;
  batch.Begin(RTM_GETLINK, 0, ifinfomsg{});
  TRY_WITH(socket->Dump(
               &batch,
               [&](const NetlinkMessage& message) {
                 if (message.type == RTM_NEWLINK) links.push_back(ParseLink(message));
               },
               [&] { links.clear(); }),
           "listing network interfaces");
  return links;
}

Result<Link> FindLink(NetlinkSocket* socket, const std::string& name) {
  Link link;
  NetlinkBatch batch;
  batch.Begin(RTM_GETLINK, 0, ifinfomsg{});
  batch.String(IFLA_IFNAME, name);
  auto got = socket->Get(&batch, [&](const NetlinkMessage& message) {
    if (message.type == RTM_NEWLINK) link = ParseLink(message);
  });
  if (!got.ok() && got.error().error_number() == ENODEV) {
    return NotFound("network interface '{}' not found", name);
  }
  TRY_WITH(std::move(got), "looking up network interface '{}'", name);
  return link;
}

Result<> DeleteLink(NetlinkSocket* socket, const std::string& name) {
  auto index = LinkIndex(*socket, name);
  if (!index.ok() && index.error().kind() == ErrorKind::kNotFound) return {};
  NetlinkBatch batch;
  AppendDeleteLink(&batch, TRY(std::move(index)));
  auto deleted = socket->Transact(&batch);
  if (!deleted.ok() && deleted.error().error_number() == ENODEV) return {};
  TRY_WITH(std::move(deleted), "deleting interface '{}'", name);
  return {};
}

Result<int> LinkIndex(const NetlinkSocket& socket, const std::string& name) {
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) {
    return InvalidArgument("network interface name '{}' is longer than 15 characters", name);
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (::ioctl(socket.fd().get(), SIOCGIFINDEX, &request) < 0) {
    if (errno == ENODEV) return NotFound("network interface '{}' not found", name);
    return ErrnoError("looking up network interface '{}'", name);
  }
  return request.ifr_ifindex;
}

Result<std::vector<LinkAddress>> ListAddresses(NetlinkSocket* socket) {
  std::vector<LinkAddress> addresses;
  NetlinkBatch batch;
  ifaddrmsg request{};
  request.ifa_family = AF_INET;
  batch.Begin(RTM_GETADDR, 0, request);
  auto visit = [&](const NetlinkMessage& message) {
    if (message.type != RTM_NEWADDR) return;
    auto header = message.HeaderAs<ifaddrmsg>();
    if (header.ifa_family != AF_INET) return;
    LinkAddress address{static_cast<int>(header.ifa_index), {}, header.ifa_prefixlen};
    for (const NetlinkAttribute& attribute : message.AttributesAfter<ifaddrmsg>()) {
      if (attribute.type == IFA_LOCAL) address.address = AddressOf(attribute);
    }
    addresses.push_back(address);
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { addresses.clear(); }), "listing addresses");
  return addresses;
}

Result<std::vector<Route>> ListRoutes(NetlinkSocket* socket) {
  std::vector<Route> routes;
  NetlinkBatch batch;
  rtmsg request{};
  request.rtm_family = AF_INET;
  batch.Begin(RTM_GETROUTE, 0, request);
  auto visit = [&](const NetlinkMessage& message) {
    if (message.type != RTM_NEWROUTE) return;
    auto header = message.HeaderAs<rtmsg>();
    Route route{{}, header.rtm_dst_len, 0, header.rtm_table};
    for (const NetlinkAttribute& attribute : message.AttributesAfter<rtmsg>()) {
      if (attribute.type == RTA_DST) route.destination = AddressOf(attribute);
      if (attribute.type == RTA_OIF) route.interface = static_cast<int>(attribute.U32());
      if (attribute.type == RTA_TABLE) route.table = attribute.U32();
    }
    routes.push_back(route);
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { routes.clear(); }), "listing routes");
  return routes;
}

Result<std::vector<LinkAddress6>> ListAddresses6(NetlinkSocket* socket) {
  std::vector<LinkAddress6> addresses;
  NetlinkBatch batch;
  batch.Begin(RTM_GETADDR, 0, Address6(0, 0));
  auto visit = [&](const NetlinkMessage& message) {
    if (message.type != RTM_NEWADDR) return;
    auto header = message.HeaderAs<ifaddrmsg>();
    if (header.ifa_family != AF_INET6) return;
    LinkAddress6 address{static_cast<int>(header.ifa_index), {}, header.ifa_prefixlen};
    for (const NetlinkAttribute& attribute : message.AttributesAfter<ifaddrmsg>()) {
      if (attribute.type == IFA_ADDRESS) address.address = AddressOf6(attribute);
    }
    addresses.push_back(address);
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { addresses.clear(); }), "listing IPv6 addresses");
  return addresses;
}

Result<std::vector<Route6>> ListRoutes6(NetlinkSocket* socket) {
  std::vector<Route6> routes;
  NetlinkBatch batch;
  rtmsg request{};
  request.rtm_family = AF_INET6;
  batch.Begin(RTM_GETROUTE, 0, request);
  auto visit = [&](const NetlinkMessage& message) {
    if (message.type != RTM_NEWROUTE) return;
    auto header = message.HeaderAs<rtmsg>();
    Route6 route{{}, header.rtm_dst_len, 0, header.rtm_table, header.rtm_protocol == RTPROT_RA};
    for (const NetlinkAttribute& attribute : message.AttributesAfter<rtmsg>()) {
      if (attribute.type == RTA_DST) route.destination = AddressOf6(attribute);
      if (attribute.type == RTA_OIF) route.interface = static_cast<int>(attribute.U32());
      if (attribute.type == RTA_TABLE) route.table = attribute.U32();
    }
    routes.push_back(route);
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { routes.clear(); }), "listing IPv6 routes");
  return routes;
}

}  // namespace gantry::kernel
