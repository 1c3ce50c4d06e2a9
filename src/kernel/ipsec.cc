// SPDX-License-Identifier: Apache-2.0
#include "kernel/ipsec.h"

#include <arpa/inet.h>
#include <linux/xfrm.h>

#include <cstring>

namespace gantry::kernel {
namespace {

constexpr const char* kAlgorithm = "rfc4106(gcm(aes))";
constexpr uint32_t kTagBits = 128;
// Packets that came out of their order by more than this are dropped.
constexpr uint32_t kReplayWindow = 1024;
// Of two policies that fit the lower number counts.
constexpr uint32_t kEncryptPriority = 1000;
constexpr uint32_t kRefusePriority = 2000;
constexpr uint8_t kOneAddress = 32;  // bits
constexpr uint16_t kWholePort = 0xffff;

xfrm_address_t AddressOf(in_addr address) {
  xfrm_address_t out{};
  out.a4 = address.s_addr;
  return out;
}

xfrm_lifetime_cfg Forever() {
  xfrm_lifetime_cfg limits{};
  limits.soft_byte_limit = limits.hard_byte_limit = XFRM_INF;
  limits.soft_packet_limit = limits.hard_packet_limit = XFRM_INF;
  return limits;
}

xfrm_selector ToPort(uint16_t port) {
  xfrm_selector selector{};
  selector.dport = htons(port);
  selector.dport_mask = kWholePort;
  selector.family = AF_INET;
  selector.proto = IPPROTO_UDP;
  return selector;
}

xfrm_selector ToPortBetween(in_addr from, in_addr to, uint16_t port) {
  xfrm_selector selector = ToPort(port);
  selector.saddr = AddressOf(from);
  selector.daddr = AddressOf(to);
  selector.prefixlen_s = selector.prefixlen_d = kOneAddress;
  return selector;
}

// An association that fits: `spi` 0 is any of the owner's.
xfrm_user_tmpl Template(in_addr from, in_addr to, uint32_t spi, uint32_t owner) {
  xfrm_user_tmpl wanted{};
  wanted.id.daddr = AddressOf(to);
  wanted.id.spi = htonl(spi);
  wanted.id.proto = IPPROTO_ESP;
  wanted.family = AF_INET;
  wanted.saddr = AddressOf(from);
  wanted.reqid = owner;
  wanted.mode = XFRM_MODE_TRANSPORT;
  wanted.aalgos = wanted.ealgos = wanted.calgos = UINT32_MAX;
  return wanted;
}

void BeginPolicy(NetlinkBatch* batch, const xfrm_selector& selector, uint8_t direction,
                 uint32_t priority, uint8_t action) {
  xfrm_userpolicy_info policy{};
  policy.sel = selector;
  policy.lft = Forever();
  policy.priority = priority;
  policy.dir = direction;
  policy.action = action;
  // Makes it, or takes the place of the one with this selector.
  batch->Begin(XFRM_MSG_UPDPOLICY, 0, policy);
}

void AppendForgetPolicy(NetlinkBatch* batch, const xfrm_selector& selector, uint8_t direction) {
  xfrm_userpolicy_id id{};
  id.sel = selector;
  id.dir = direction;
  batch->Begin(XFRM_MSG_DELPOLICY, 0, id);
}

}  // namespace

void AppendAssociation(NetlinkBatch* batch, const Association& association,
                       const AssociationKey& key, uint32_t owner) {
  xfrm_usersa_info info{};
  info.sel.family = AF_INET;
  info.id.daddr = AddressOf(association.to);
  info.id.spi = htonl(association.spi);
  info.id.proto = IPPROTO_ESP;
  info.saddr = AddressOf(association.from);
  info.lft = Forever();
  info.reqid = owner;
  info.family = AF_INET;
  info.mode = XFRM_MODE_TRANSPORT;
  // Numbers of 64 bits: those of 32 are used up within the hour.
  info.flags = XFRM_STATE_ESN;
  batch->Begin(XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, info);

  xfrm_algo_aead algorithm{};
  std::strncpy(algorithm.alg_name, kAlgorithm, sizeof algorithm.alg_name - 1);
  algorithm.alg_key_len = 8 * key.size();
  algorithm.alg_icv_len = kTagBits;
  std::string whole(reinterpret_cast<const char*>(&algorithm), sizeof algorithm);
  whole.append(reinterpret_cast<const char*>(key.data()), key.size());
  batch->Bytes(XFRMA_ALG_AEAD, whole);

  xfrm_replay_state_esn replay{};
  replay.replay_window = kReplayWindow;
  replay.bmp_len = kReplayWindow / 32;
  whole.assign(reinterpret_cast<const char*>(&replay), sizeof replay);
  whole.append(kReplayWindow / 8, '\0');
  batch->Bytes(XFRMA_REPLAY_ESN_VAL, whole);
}

void AppendForgetAssociation(NetlinkBatch* batch, const Association& association) {
  xfrm_usersa_id id{};
  id.daddr = AddressOf(association.to);
  id.spi = htonl(association.spi);
  id.family = AF_INET;
  id.proto = IPPROTO_ESP;
  batch->Begin(XFRM_MSG_DELSA, 0, id);
}

Result<std::vector<Association>> ListAssociations(NetlinkSocket* socket, uint32_t owner) {
  std::vector<Association> found;
  NetlinkBatch batch;
  batch.Begin(XFRM_MSG_GETSA, 0, xfrm_usersa_id{});
  auto each = [&](const NetlinkMessage& message) {
    auto info = message.HeaderAs<xfrm_usersa_info>();
    if (message.type != XFRM_MSG_NEWSA || info.family != AF_INET || info.reqid != owner) return;
    found.push_back({{info.saddr.a4}, {info.id.daddr.a4}, ntohl(info.id.spi)});
  };
  TRY_WITH(socket->Dump(&batch, each, [&] { found.clear(); }), "listing IPsec's associations");
  return found;
}

void AppendEncrypt(NetlinkBatch* batch, const Association& association, uint16_t port,
                   uint32_t owner) {
  BeginPolicy(batch, ToPortBetween(association.from, association.to, port), XFRM_POLICY_OUT,
              kEncryptPriority, XFRM_POLICY_ALLOW);
  xfrm_user_tmpl wanted = Template(association.from, association.to, association.spi, owner);
  batch->Attribute(XFRMA_TMPL, &wanted, sizeof wanted);
}

void AppendForgetEncrypt(NetlinkBatch* batch, in_addr from, in_addr to, uint16_t port) {
  AppendForgetPolicy(batch, ToPortBetween(from, to, port), XFRM_POLICY_OUT);
}

void AppendRefusePlain(NetlinkBatch* batch, uint16_t port, uint32_t owner) {
  BeginPolicy(batch, ToPort(port), XFRM_POLICY_OUT, kRefusePriority, XFRM_POLICY_BLOCK);
  BeginPolicy(batch, ToPort(port), XFRM_POLICY_IN, kRefusePriority, XFRM_POLICY_ALLOW);
  xfrm_user_tmpl wanted = Template({}, {}, 0, owner);
  batch->Attribute(XFRMA_TMPL, &wanted, sizeof wanted);
}

void AppendForgetRefusal(NetlinkBatch* batch, uint16_t port) {
  AppendForgetPolicy(batch, ToPort(port), XFRM_POLICY_OUT);
  AppendForgetPolicy(batch, ToPort(port), XFRM_POLICY_IN);
}

Result<PortPolicies> ListPolicies(NetlinkSocket* socket, uint16_t port) {
  PortPolicies found;
  NetlinkBatch batch;
  batch.Begin(XFRM_MSG_GETPOLICY, 0, xfrm_userpolicy_id{});
  auto each = [&](const NetlinkMessage& message) {
    auto info = message.HeaderAs<xfrm_userpolicy_info>();
    if (message.type != XFRM_MSG_NEWPOLICY || info.sel.family != AF_INET) return;
    if (info.sel.proto != IPPROTO_UDP || info.sel.dport != htons(port)) return;
    if (info.dir == XFRM_POLICY_IN) found.in_refused = true;
    if (info.dir == XFRM_POLICY_OUT && info.action == XFRM_POLICY_BLOCK) found.out_refused = true;
    if (info.dir != XFRM_POLICY_OUT || info.action != XFRM_POLICY_ALLOW) return;
    for (const NetlinkAttribute& item : message.AttributesAfter<xfrm_userpolicy_info>()) {
      xfrm_user_tmpl wanted{};
      if (item.type != XFRMA_TMPL || item.data.size() < sizeof wanted) continue;
      std::memcpy(&wanted, item.data.data(), sizeof wanted);
      found.encrypted.push_back({{info.sel.saddr.a4}, {info.sel.daddr.a4}, ntohl(wanted.id.spi)});
    }
  };
  TRY_WITH(socket->Dump(&batch, each, [&] { found = {}; }), "listing IPsec's policies");
  return found;
}

}  // namespace gantry::kernel
