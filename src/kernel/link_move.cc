// SPDX-License-Identifier: Apache-2.0
#include "kernel/link_move.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "kernel/link_header.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {
namespace {

struct Attribute {
  uint16_t type;
  std::string data;
};

struct Address {
  ifaddrmsg header{};
  std::vector<Attribute> attributes;
};

// What the kernel keeps for itself: it comes anew with the address.
bool IsKernels(uint16_t type) { return type == IFA_CACHEINFO || type == IFA_LABEL; }

bool Comes(const ifaddrmsg& header, uint32_t flags) {
  return (flags & IFA_F_PERMANENT) != 0 && header.ifa_scope == RT_SCOPE_UNIVERSE;
}

Result<std::vector<Address>> AddressesOf(NetlinkSocket* socket, int index) {
  std::vector<Address> addresses;
  NetlinkBatch batch;
  ifaddrmsg request{};
  request.ifa_family = AF_UNSPEC;
  batch.Begin(RTM_GETADDR, 0, request);
  auto visit = [&](const NetlinkMessage& message) {
    if (message.type != RTM_NEWADDR) return;
    Address address;
    address.header = message.HeaderAs<ifaddrmsg>();
    if (static_cast<int>(address.header.ifa_index) != index) return;
    uint32_t flags = address.header.ifa_flags;
    for (const NetlinkAttribute& attribute : message.AttributesAfter<ifaddrmsg>()) {
      if (attribute.type == IFA_FLAGS) flags = attribute.U32();
      if (IsKernels(attribute.type)) continue;
      address.attributes.push_back({attribute.type, std::string(attribute.data)});
    }
    if (Comes(address.header, flags)) addresses.push_back(std::move(address));
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { addresses.clear(); }), "listing addresses");
  return addresses;
}

void AppendAddress(NetlinkBatch* batch, int index, const Address& address) {
  ifaddrmsg header = address.header;
  header.ifa_index = static_cast<uint32_t>(index);
  batch->Begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header);
  for (const Attribute& attribute : address.attributes) {
    batch->Bytes(attribute.type, attribute.data);
  }
}

// The interface that was not there before: its number may have changed on the way.
Result<int> NewIndex(NetlinkSocket* socket, const std::vector<Link>& before) {
  for (const Link& link : TRY(ListLinks(socket))) {
    bool known = std::any_of(before.begin(), before.end(),
                             [&](const Link& old) { return old.index == link.index; });
    if (!known) return link.index;
  }
  return NotFound("the moved interface is not there");
}

}  // namespace

Result<> MoveLink(NetlinkSocket* here, NetlinkSocket* there, BorrowedFd netns,
                  const LinkMove& move) {
  Link link = TRY(FindLink(here, move.name));
  std::vector<Address> addresses = TRY(AddressesOf(here, link.index));
  std::vector<Link> before = TRY(ListLinks(there));
  for (const Link& other : before) {
    if (other.name != move.new_name) continue;
    return AlreadyExists("the container has a network interface '{}' already", move.new_name);
  }
  NetlinkBatch batch;
  batch.Begin(RTM_NEWLINK, 0, ThisLink(link.index));
  batch.U32(IFLA_NET_NS_FD, static_cast<uint32_t>(netns.get()));
  batch.String(IFLA_IFNAME, move.new_name);
  TRY(here->Transact(&batch));
  int index = TRY(NewIndex(there, before));
  NetlinkBatch settings;
  for (const Address& address : addresses) AppendAddress(&settings, index, address);
  AppendLinkUp(&settings, index);
  return there->Transact(&settings);
}

}  // namespace gantry::kernel
