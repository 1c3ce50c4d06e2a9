// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <cstring>

#include "kernel/nftables.h"

namespace gantry::kernel {
namespace {

// Where the addresses are in the network header, and how long they are.
struct AddressPlace {
  uint32_t source;
  uint32_t destination;
  uint32_t size;
};
AddressPlace PlaceOf(NftFamily family) {
  CHECK(family != NftFamily::kInet);
  return family == NftFamily::kIpv6 ? AddressPlace{8, 24, 16} : AddressPlace{12, 16, 4};
}
constexpr uint32_t kDestinationPortOffset = 2;  // tcp, udp and sctp alike

uint32_t Register(int reg) { return NFT_REG32_00 + static_cast<uint32_t>(reg); }

// Attributes without a message around them: the message that carries them is cut off again.
NetlinkBatch Attributes() {
  NetlinkBatch batch;
  batch.Begin(0, 0, nlmsghdr{});
  return batch;
}
std::string_view AttributeBytes(const NetlinkBatch& batch) {
  return std::string_view(batch.bytes()).substr(2 * sizeof(nlmsghdr));
}

}  // namespace

void NftRule::Add(std::string_view name, const NetlinkBatch& data) {
  NetlinkBatch list = Attributes();
  size_t element = list.BeginNest(NFTA_LIST_ELEM);
  list.String(NFTA_EXPR_NAME, name);
  list.Bytes(NFTA_EXPR_DATA | NLA_F_NESTED, AttributeBytes(data));
  list.EndNest(element);
  bytes_ += AttributeBytes(list);
}

NftRule& NftRule::Load(std::string_view name, uint16_t dreg_type, uint16_t key_type, uint32_t key,
                       int reg) {
  NetlinkBatch data = Attributes();
  data.Be32(key_type, key);
  data.Be32(dreg_type, Register(reg));
  Add(name, data);
  return *this;
}

NftRule& NftRule::LoadInputInterface(int reg) {
  return Load("meta", NFTA_META_DREG, NFTA_META_KEY, NFT_META_IIFNAME, reg);
}
NftRule& NftRule::LoadOutputInterface(int reg) {
  return Load("meta", NFTA_META_DREG, NFTA_META_KEY, NFT_META_OIFNAME, reg);
}
NftRule& NftRule::LoadProtocol(int reg) {
  return Load("meta", NFTA_META_DREG, NFTA_META_KEY, NFT_META_L4PROTO, reg);
}
NftRule& NftRule::LoadMark(int reg) {
  return Load("meta", NFTA_META_DREG, NFTA_META_KEY, NFT_META_MARK, reg);
}
NftRule& NftRule::LoadConntrackState(int reg) {
  return Load("ct", NFTA_CT_DREG, NFTA_CT_KEY, NFT_CT_STATE, reg);
}
NftRule& NftRule::LoadConntrackStatus(int reg) {
  return Load("ct", NFTA_CT_DREG, NFTA_CT_KEY, NFT_CT_STATUS, reg);
}

NftRule& NftRule::LoadDestinationKind(int reg) {
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_FIB_DREG, Register(reg));
  data.Be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  data.Be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  Add("fib", data);
  return *this;
}

NftRule& NftRule::Payload(uint32_t base, uint32_t offset, uint32_t size, int reg) {
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_PAYLOAD_DREG, Register(reg));
  data.Be32(NFTA_PAYLOAD_BASE, base);
  data.Be32(NFTA_PAYLOAD_OFFSET, offset);
  data.Be32(NFTA_PAYLOAD_LEN, size);
  Add("payload", data);
  return *this;
}

NftRule& NftRule::LoadSource(NftFamily family, int reg) {
  AddressPlace place = PlaceOf(family);
  return Payload(NFT_PAYLOAD_NETWORK_HEADER, place.source, place.size, reg);
}
NftRule& NftRule::LoadDestination(NftFamily family, int reg) {
  AddressPlace place = PlaceOf(family);
  return Payload(NFT_PAYLOAD_NETWORK_HEADER, place.destination, place.size, reg);
}
NftRule& NftRule::LoadDestinationPort(int reg) {
  return Payload(NFT_PAYLOAD_TRANSPORT_HEADER, kDestinationPortOffset, 2, reg);
}

NftRule& NftRule::Bitwise(int reg, const void* mask) {
  uint32_t zero = 0;
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_BITWISE_SREG, Register(reg));
  data.Be32(NFTA_BITWISE_DREG, Register(reg));
  data.Be32(NFTA_BITWISE_LEN, sizeof zero);
  size_t nest = data.BeginNest(NFTA_BITWISE_MASK);
  data.Attribute(NFTA_DATA_VALUE, mask, sizeof zero);
  data.EndNest(nest);
  nest = data.BeginNest(NFTA_BITWISE_XOR);
  data.Attribute(NFTA_DATA_VALUE, &zero, sizeof zero);
  data.EndNest(nest);
  Add("bitwise", data);
  return *this;
}

NftRule& NftRule::Mask(int reg, uint32_t mask) { return Bitwise(reg, &mask); }
NftRule& NftRule::MaskNetwork(int reg, uint32_t mask) { return Mask(reg, htonl(mask)); }

NftRule& NftRule::Compare(int reg, uint32_t op, const void* value, size_t size) {
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_CMP_SREG, Register(reg));
  data.Be32(NFTA_CMP_OP, op);
  size_t nest = data.BeginNest(NFTA_CMP_DATA);
  data.Attribute(NFTA_DATA_VALUE, value, size);
  data.EndNest(nest);
  Add("cmp", data);
  return *this;
}

NftRule& NftRule::Equal(int reg, uint32_t value) {
  return Compare(reg, NFT_CMP_EQ, &value, sizeof value);
}
NftRule& NftRule::NotEqual(int reg, uint32_t value) {
  return Compare(reg, NFT_CMP_NEQ, &value, sizeof value);
}
NftRule& NftRule::EqualByte(int reg, uint32_t value) {
  auto byte = static_cast<uint8_t>(value);
  return Compare(reg, NFT_CMP_EQ, &byte, sizeof byte);
}
NftRule& NftRule::EqualNetwork(int reg, uint32_t value) { return Equal(reg, htonl(value)); }

NftRule& NftRule::InSet(int reg, std::string_view set) {
  NetlinkBatch data = Attributes();
  data.String(NFTA_LOOKUP_SET, set);
  data.Be32(NFTA_LOOKUP_SREG, Register(reg));
  Add("lookup", data);
  return *this;
}

NftRule& NftRule::NotInSet(int reg, std::string_view set) {
  NetlinkBatch data = Attributes();
  data.String(NFTA_LOOKUP_SET, set);
  data.Be32(NFTA_LOOKUP_SREG, Register(reg));
  data.Be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  Add("lookup", data);
  return *this;
}

NftRule& NftRule::LookUp(int reg, std::string_view map, int out) {
  NetlinkBatch data = Attributes();
  data.String(NFTA_LOOKUP_SET, map);
  data.Be32(NFTA_LOOKUP_SREG, Register(reg));
  data.Be32(NFTA_LOOKUP_DREG, Register(out));
  Add("lookup", data);
  return *this;
}

NftRule& NftRule::SourceNat(NftFamily family, int address_reg) {
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_NAT_TYPE, NFT_NAT_SNAT);
  data.Be32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family));
  data.Be32(NFTA_NAT_REG_ADDR_MIN, Register(address_reg));
  Add("nat", data);
  return *this;
}

NftRule& NftRule::DestinationNat(NftFamily family, int address_reg) {
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
  data.Be32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family));
  data.Be32(NFTA_NAT_REG_ADDR_MIN, Register(address_reg));
  Add("nat", data);
  return *this;
}

NftRule& NftRule::DestinationNat(NftFamily family, int address_reg, int port_reg) {
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
  data.Be32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family));
  data.Be32(NFTA_NAT_REG_ADDR_MIN, Register(address_reg));
  data.Be32(NFTA_NAT_REG_PROTO_MIN, Register(port_reg));
  Add("nat", data);
  return *this;
}

NftRule& NftRule::Masquerade() {
  Add("masq", Attributes());
  return *this;
}

NftRule& NftRule::Verdict(int32_t code) {
  NetlinkBatch data = Attributes();
  data.Be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  size_t value = data.BeginNest(NFTA_IMMEDIATE_DATA);
  size_t verdict = data.BeginNest(NFTA_DATA_VERDICT);
  data.Be32(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
  data.EndNest(verdict);
  data.EndNest(value);
  Add("immediate", data);
  return *this;
}

NftRule& NftRule::Accept() { return Verdict(NF_ACCEPT); }
NftRule& NftRule::Drop() { return Verdict(NF_DROP); }
NftRule& NftRule::Return() { return Verdict(NFT_RETURN); }

}  // namespace gantry::kernel
