// SPDX-License-Identifier: Apache-2.0
#include "kernel/announcement.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <sys/socket.h>

#include <cstring>

namespace gantry::kernel {
namespace {

constexpr HardwareAddress kToAll = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr uint8_t kMaxHops = 255;  // neighbours alone may send it (RFC 4861 section 7.1.2)

template <typename T>
void AppendTo(std::string* out, const T& value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

ether_header EthernetHeader(const HardwareAddress& to, const HardwareAddress& from, uint16_t type) {
  ether_header header{};
  std::memcpy(header.ether_dhost, to.data(), to.size());
  std::memcpy(header.ether_shost, from.data(), from.size());
  header.ether_type = htons(type);
  return header;
}

// RFC 1071, of an even number of bytes.
uint16_t InternetChecksum(const std::string& data) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < data.size(); i += 2) {
    uint16_t word = 0;
    std::memcpy(&word, data.data() + i, sizeof word);
    sum += word;
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

Result<> Replace(NetlinkSocket* socket, uint8_t family, int index, const void* address, size_t size,
                 const HardwareAddress& mac) {
  NetlinkBatch batch;
  ndmsg header{};
  header.ndm_family = family;
  header.ndm_ifindex = index;
  header.ndm_state = NUD_STALE;
  batch.Begin(RTM_NEWNEIGH, NLM_F_REPLACE, header);
  batch.Attribute(NDA_DST, address, size);
  batch.Attribute(NDA_LLADDR, mac.data(), mac.size());
  auto replaced = socket->Transact(&batch);
  if (!replaced.ok() && replaced.error().error_number() == ENOENT) return {};
  return replaced;
}

}  // namespace

Result<UniqueFd> OpenAnnouncer() {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError("opening a packet socket");
  return fd;
}

std::string AnnouncementFrame(in_addr address, const HardwareAddress& mac) {
  ether_arp arp{};
  arp.ea_hdr.ar_hrd = htons(ARPHRD_ETHER);
  arp.ea_hdr.ar_pro = htons(ETHERTYPE_IP);
  arp.ea_hdr.ar_hln = ETHER_ADDR_LEN;
  arp.ea_hdr.ar_pln = sizeof address;
  arp.ea_hdr.ar_op = htons(ARPOP_REQUEST);
  std::memcpy(arp.arp_sha, mac.data(), mac.size());
  std::memcpy(arp.arp_spa, &address, sizeof address);
  std::memcpy(arp.arp_tpa, &address, sizeof address);
  std::string frame;
  AppendTo(&frame, EthernetHeader(kToAll, mac, ETHERTYPE_ARP));
  AppendTo(&frame, arp);
  return frame;
}

std::string AnnouncementFrame6(const in6_addr& address, const HardwareAddress& mac) {
  in6_addr all_nodes{};
  CHECK(::inet_pton(AF_INET6, "ff02::1", &all_nodes) == 1);
  nd_neighbor_advert advert{};
  advert.nd_na_type = ND_NEIGHBOR_ADVERT;
  advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
  advert.nd_na_target = address;
  nd_opt_hdr option{ND_OPT_TARGET_LINKADDR, 1};
  std::string message;
  AppendTo(&message, advert);
  AppendTo(&message, option);
  AppendTo(&message, mac);
  ip6_hdr header{};
  header.ip6_flow = htonl(6u << 28);
  header.ip6_plen = htons(static_cast<uint16_t>(message.size()));
  header.ip6_nxt = IPPROTO_ICMPV6;
  header.ip6_hlim = kMaxHops;
  header.ip6_src = address;
  header.ip6_dst = all_nodes;
  // RFC 8200 section 8.1.
  std::string summed;
  AppendTo(&summed, header.ip6_src);
  AppendTo(&summed, header.ip6_dst);
  AppendTo(&summed, htonl(static_cast<uint32_t>(message.size())));
  AppendTo(&summed, htonl(uint32_t{IPPROTO_ICMPV6}));
  uint16_t checksum = InternetChecksum(summed + message);
  std::memcpy(message.data() + offsetof(icmp6_hdr, icmp6_cksum), &checksum, sizeof checksum);
  std::string frame;
  AppendTo(&frame, EthernetHeader({0x33, 0x33, 0, 0, 0, 1}, mac, ETHERTYPE_IPV6));
  AppendTo(&frame, header);
  return frame + message;
}

Result<> SendFrame(BorrowedFd announcer, int bridge_index, const std::string& frame) {
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = bridge_index;
  to.sll_halen = ETHER_ADDR_LEN;
  std::memcpy(to.sll_addr, frame.data(), ETHER_ADDR_LEN);
  std::memcpy(&to.sll_protocol, frame.data() + 2 * ETHER_ADDR_LEN, sizeof to.sll_protocol);
  ssize_t sent = ::sendto(announcer.get(), frame.data(), frame.size(), 0,
                          reinterpret_cast<const sockaddr*>(&to), sizeof to);
  if (sent < 0) return ErrnoError("sending an announcement over interface {}", bridge_index);
  return {};
}

Result<> UpdateNeighbour(NetlinkSocket* socket, int index, in_addr address,
                         const HardwareAddress& mac) {
  return Replace(socket, AF_INET, index, &address, sizeof address, mac);
}

Result<> UpdateNeighbour6(NetlinkSocket* socket, int index, const in6_addr& address,
                          const HardwareAddress& mac) {
  return Replace(socket, AF_INET6, index, &address, sizeof address, mac);
}

}  // namespace gantry::kernel
