// SPDX-License-Identifier: Apache-2.0
#include "kernel/nft_watch.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "kernel/netlink.h"

namespace gantry::kernel {
namespace {

bool IsAboutRules(uint16_t type) {
  if (type >> 8 != NFNL_SUBSYS_NFTABLES) return false;
  switch (type & 0xff) {
    case NFT_MSG_NEWTABLE:
    case NFT_MSG_DELTABLE:
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
    case NFT_MSG_NEWRULE:
    case NFT_MSG_DELRULE:
    case NFT_MSG_DELSET:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<NftWatch> NftWatch::Open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!fd.valid()) return ErrnoError("opening a netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1U << (NFNLGRP_NFTABLES - 1);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("listening to changes of nft tables");
  }
  return NftWatch(std::move(fd));
}

Result<bool> NftWatch::Changed(const std::function<bool(std::string_view table)>& wanted) {
  // The name of the table is attribute 1 of all these messages.
  static_assert(int{NFTA_TABLE_NAME} == int{NFTA_CHAIN_TABLE} &&
                int{NFTA_CHAIN_TABLE} == int{NFTA_RULE_TABLE} &&
                int{NFTA_RULE_TABLE} == int{NFTA_SET_TABLE});
  bool changed = false;
  std::array<char, 65536> buffer;
  for (;;) {
    ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return changed;
    // More news than the socket holds: who knows what.
    if (size < 0 && errno == ENOBUFS) {
      changed = true;
      continue;
    }
    if (size < 0) return ErrnoError("reading changes of nft tables");
    for (const NetlinkMessage& message :
         ParseMessages({buffer.data(), static_cast<size_t>(size)})) {
      if (!IsAboutRules(message.type)) continue;
      for (const NetlinkAttribute& attribute : message.AttributesAfter<nfgenmsg>()) {
        changed |= attribute.type == NFTA_TABLE_NAME && wanted(attribute.String());
      }
    }
  }
}

}  // namespace gantry::kernel
