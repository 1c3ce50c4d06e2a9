// SPDX-License-Identifier: Apache-2.0
//
// nf_tables over netlink, encoded by hand (linux/netfilter/nf_tables.h): one NftBatch is one
// transaction, so that a change happens as a whole or not at all. Only what the port publishing and
// the bridges need: tables, chains, sets and maps with their elements, rules of a few expressions.
//
// Registers: the kernel's sixteen 4-byte registers, counted from 0 here. A field of a concatenated
// key begins at a multiple of 4 bytes. Any thread, each with its own batch and socket.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

enum class NftFamily : uint8_t { kIpv4 = 2, kIpv6 = 10, kInet = 1 };

// nft's own numbers of data types, so that `nft list ruleset` prints sets as people write them.
enum class NftType : uint32_t {
  kIpv4Address = 7,
  kIpv6Address = 8,
  kInetProto = 12,
  kInetService = 13,
  kInterface = 41,
};
// A concatenation: "ipv4_addr . inet_service".
uint32_t NftConcat(const std::vector<NftType>& types);

// The expressions of one rule, in order.
class NftRule {
 public:
  NftRule& LoadInputInterface(int reg);   // 16 bytes: the name
  NftRule& LoadOutputInterface(int reg);  // 16 bytes
  NftRule& LoadProtocol(int reg);         // layer 4, 1 byte
  NftRule& LoadMark(int reg);             // of the packet: skb->mark
  // The address, in a table of this family (not kInet): 4 or 16 bytes.
  NftRule& LoadSource(NftFamily family, int reg);
  NftRule& LoadDestination(NftFamily family, int reg);
  NftRule& LoadDestinationPort(int reg);  // 2 bytes
  NftRule& LoadConntrackState(int reg);
  NftRule& LoadConntrackStatus(int reg);
  NftRule& LoadDestinationKind(int reg);         // fib daddr type: RTN_LOCAL, …
  NftRule& Mask(int reg, uint32_t mask);         // 4 bytes, host byte order
  NftRule& MaskNetwork(int reg, uint32_t mask);  // 4 bytes, network byte order
  // The rule goes on only when the register (host byte order) is, or is not, the value.
  NftRule& Equal(int reg, uint32_t value);
  NftRule& NotEqual(int reg, uint32_t value);
  NftRule& EqualNetwork(int reg, uint32_t value);
  NftRule& EqualByte(int reg, uint32_t value);  // the register's first byte: LoadProtocol's
  NftRule& InSet(int reg, std::string_view set);
  NftRule& NotInSet(int reg, std::string_view set);
  // The rule goes on only when the map has the key; its data is put at `out`.
  NftRule& LookUp(int reg, std::string_view map, int out);
  NftRule& DestinationNat(NftFamily family, int address_reg, int port_reg);
  NftRule& DestinationNat(NftFamily family, int address_reg);  // the port stays
  NftRule& SourceNat(NftFamily family, int address_reg);
  NftRule& Masquerade();
  NftRule& Accept();
  NftRule& Drop();
  NftRule& Return();

  // The encoded NFTA_LIST_ELEM attributes.
  const std::string& bytes() const { return bytes_; }

 private:
  void Add(std::string_view name, const NetlinkBatch& data);
  NftRule& Compare(int reg, uint32_t op, const void* data, size_t size);
  NftRule& Payload(uint32_t base, uint32_t offset, uint32_t size, int reg);
  NftRule& Bitwise(int reg, const void* mask);
  NftRule& Verdict(int32_t code);
  NftRule& Load(std::string_view name, uint16_t dreg_type, uint16_t key_type, uint32_t key,
                int reg);

  std::string bytes_;
};

struct NftElement {
  std::string key;
  std::string data;           // of maps
  bool interval_end = false;  // the first key that is not in the interval that began before
  std::string last;           // of sets with fields: each field from `key`'s to this one's
  auto operator<=>(const NftElement&) const = default;
};

struct NftSet {
  std::string name;
  uint32_t key_type = 0;
  uint32_t key_size = 0;
  bool intervals = false;
  // Of maps.
  uint32_t data_type = 0;
  uint32_t data_size = 0;
  // Sizes of the key's fields, each of which is an interval in an element; empty: keys as a whole.
  std::vector<uint32_t> fields;
};

struct NftBaseChain {
  std::string name;
  std::string type;   // "nat", "filter"
  uint32_t hook = 0;  // NF_INET_…
  int32_t priority = 0;
};

class NftBatch {
 public:
  NftBatch(NftFamily family, std::string table);

  NftBatch& AddTable();
  NftBatch& DeleteTable();
  NftBatch& AddChain(const NftBaseChain& chain);
  NftBatch& AddSet(const NftSet& set);
  // Adding an element that is there with other data fails with EEXIST.
  NftBatch& AddElements(std::string_view set, const std::vector<NftElement>& elements);
  // Deleting one that is not there fails with ENOENT.
  NftBatch& DeleteElements(std::string_view set, const std::vector<NftElement>& elements);
  // At the chain's end. `comment` is shown by nft and read back by ListNftRules.
  NftBatch& AddRule(std::string_view chain, const NftRule& rule, std::string_view comment);
  NftBatch& DeleteRule(std::string_view chain, uint64_t handle);

  bool empty() const { return batch_.message_count() <= 1; }
  // Ends the batch and sends it. A NftBatch is sent once.
  Result<> Commit(NetlinkSocket* socket);
  const NetlinkBatch& netlink() const { return batch_; }

 private:
  void Begin(uint16_t message, uint16_t flags);
  void Elements(uint16_t message, uint16_t flags, std::string_view set,
                const std::vector<NftElement>& elements);

  NftFamily family_;
  std::string table_;
  NetlinkBatch batch_;
  uint32_t next_set_id_ = 1;
};

struct NftListedRule {
  std::string chain;
  uint64_t handle = 0;
  std::string comment;
};

Result<bool> NftTableExists(NetlinkSocket* socket, NftFamily family, const std::string& table);
// The names of all tables of a family.
Result<std::vector<std::string>> ListNftTables(NetlinkSocket* socket, NftFamily family);
Result<std::vector<std::string>> ListNftChains(NetlinkSocket* socket, NftFamily family,
                                               const std::string& table);
Result<std::vector<std::string>> ListNftSets(NetlinkSocket* socket, NftFamily family,
                                             const std::string& table);
// In the order in which they are evaluated, chain by chain.
Result<std::vector<NftListedRule>> ListNftRules(NetlinkSocket* socket, NftFamily family,
                                                const std::string& table);
Result<std::vector<NftElement>> ListNftElements(NetlinkSocket* socket, NftFamily family,
                                                const std::string& table, const std::string& set);

// What an NFT_MSG_NEWSETELEM message holds.
std::vector<NftElement> ParseNftElements(const NetlinkMessage& message);

// `fields` as a concatenated key: each padded to 4 bytes.
std::string NftKey(std::initializer_list<std::string_view> fields);
// An interface's name as a key: 16 bytes.
std::string NftInterfaceKey(std::string_view name);

}  // namespace gantry::kernel
