// SPDX-License-Identifier: Apache-2.0
#include "kernel/nftables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>

#include <cstring>

namespace gantry::kernel {
namespace {

// nft packs the types of a concatenation in 6 bits each.
constexpr uint32_t kTypeBits = 6;
// libnftnl's user data of rules: type, length, value; type 0 is the comment.
constexpr char kCommentTag = 0;
// An attribute's length is 16 bits; an element takes at most about 100 bytes.
constexpr size_t kElementsPerMessage = 500;

uint16_t Type(uint16_t message) {
  return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

nfgenmsg Header(uint8_t family) {
  nfgenmsg header{};
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  return header;
}

nfgenmsg BatchHeader() {
  nfgenmsg header{};
  header.nfgen_family = AF_UNSPEC;
  header.version = NFNETLINK_V0;
  header.res_id = htons(NFNL_SUBSYS_NFTABLES);
  return header;
}

std::string CommentOf(std::string_view user_data) {
  while (user_data.size() >= 2) {
    size_t size = static_cast<uint8_t>(user_data[1]);
    if (user_data.size() < 2 + size) break;
    std::string_view value = user_data.substr(2, size);
    if (user_data[0] == kCommentTag) return std::string(value.substr(0, value.find('\0')));
    user_data.remove_prefix(2 + size);
  }
  return {};
}

// Dumps one kind of object of a table and collects what `take` makes of each message.
template <typename T, typename Take>
Result<std::vector<T>> List(NetlinkSocket* socket, NftFamily family, uint16_t request,
                            uint16_t table_attribute, const std::string& table, Take take) {
  std::vector<T> found;
  NetlinkBatch batch;
  batch.Begin(Type(request), 0, Header(static_cast<uint8_t>(family)));
  if (!table.empty()) batch.String(table_attribute, table);
  auto visit = [&](const NetlinkMessage& message) { take(message, &found); };
  TRY_WITH(socket->Dump(&batch, visit, [&] { found.clear(); }), "listing nft table '{}'", table);
  return found;
}

// The names in attribute `name_attribute` of messages that belong to the table.
auto TakeNames(const std::string& table, uint16_t table_attribute, uint16_t name_attribute) {
  return [=](const NetlinkMessage& message, std::vector<std::string>* out) {
    std::string of_table;
    std::string name;
    for (const NetlinkAttribute& attribute : message.AttributesAfter<nfgenmsg>()) {
      if (attribute.type == table_attribute) of_table = attribute.String();
      if (attribute.type == name_attribute) name = attribute.String();
    }
    if (table.empty() || of_table == table) out->push_back(name);
  };
}

}  // namespace

uint32_t NftConcat(const std::vector<NftType>& types) {
  uint32_t all = 0;
  for (NftType type : types) all = all << kTypeBits | static_cast<uint32_t>(type);
  return all;
}

std::string NftKey(std::initializer_list<std::string_view> fields) {
  std::string key;
  for (std::string_view field : fields) {
    key += field;
    key.resize((key.size() + 3) / 4 * 4, '\0');
  }
  return key;
}

std::string NftInterfaceKey(std::string_view name) {
  std::string key(name);
  key.resize(IFNAMSIZ, '\0');
  return key;
}

NftBatch::NftBatch(NftFamily family, std::string table)
    : family_(family), table_(std::move(table)) {
  batch_.Begin(NFNL_MSG_BATCH_BEGIN, 0, BatchHeader());
}

void NftBatch::Begin(uint16_t message, uint16_t flags) {
  batch_.Begin(Type(message), flags, Header(static_cast<uint8_t>(family_)));
}

NftBatch& NftBatch::AddTable() {
  Begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
  batch_.String(NFTA_TABLE_NAME, table_);
  return *this;
}

NftBatch& NftBatch::DeleteTable() {
  Begin(NFT_MSG_DELTABLE, 0);
  batch_.String(NFTA_TABLE_NAME, table_);
  return *this;
}

NftBatch& NftBatch::AddChain(const NftBaseChain& chain) {
  Begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  batch_.String(NFTA_CHAIN_TABLE, table_);
  batch_.String(NFTA_CHAIN_NAME, chain.name);
  batch_.String(NFTA_CHAIN_TYPE, chain.type);
  size_t hook = batch_.BeginNest(NFTA_CHAIN_HOOK);
  batch_.Be32(NFTA_HOOK_HOOKNUM, chain.hook);
  batch_.Be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(chain.priority));
  batch_.EndNest(hook);
  batch_.Be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
  return *this;
}

NftBatch& NftBatch::AddSet(const NftSet& set) {
  Begin(NFT_MSG_NEWSET, NLM_F_CREATE);
  batch_.String(NFTA_SET_TABLE, table_);
  batch_.String(NFTA_SET_NAME, set.name);
  uint32_t flags = set.intervals ? NFT_SET_INTERVAL : 0;
  if (!set.fields.empty()) flags |= NFT_SET_INTERVAL | NFT_SET_CONCAT;
  if (set.data_size != 0) {
    flags |= NFT_SET_MAP;
    batch_.Be32(NFTA_SET_DATA_TYPE, set.data_type);
    batch_.Be32(NFTA_SET_DATA_LEN, set.data_size);
  }
  batch_.Be32(NFTA_SET_FLAGS, flags);
  batch_.Be32(NFTA_SET_KEY_TYPE, set.key_type);
  batch_.Be32(NFTA_SET_KEY_LEN, set.key_size);
  if (!set.fields.empty()) {
    size_t description = batch_.BeginNest(NFTA_SET_DESC);
    size_t list = batch_.BeginNest(NFTA_SET_DESC_CONCAT);
    for (uint32_t size : set.fields) {
      size_t field = batch_.BeginNest(NFTA_LIST_ELEM);
      batch_.Be32(NFTA_SET_FIELD_LEN, size);
      batch_.EndNest(field);
    }
    batch_.EndNest(list);
    batch_.EndNest(description);
  }
  batch_.Be32(NFTA_SET_ID, next_set_id_++);
  return *this;
}

void NftBatch::Elements(uint16_t message, uint16_t flags, std::string_view set,
                        const std::vector<NftElement>& elements) {
  for (size_t i = 0; i < elements.size();) {
    Begin(message, flags);
    batch_.String(NFTA_SET_ELEM_LIST_TABLE, table_);
    batch_.String(NFTA_SET_ELEM_LIST_SET, set);
    size_t list = batch_.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
    size_t end = std::min(elements.size(), i + kElementsPerMessage);
    for (; i < end; ++i) {
      const NftElement& element = elements[i];
      size_t nest = batch_.BeginNest(NFTA_LIST_ELEM);
      if (element.interval_end) batch_.Be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
      size_t key = batch_.BeginNest(NFTA_SET_ELEM_KEY);
      batch_.Bytes(NFTA_DATA_VALUE, element.key);
      batch_.EndNest(key);
      for (auto [type, value] : {std::pair(NFTA_SET_ELEM_KEY_END, &element.last),
                                 std::pair(NFTA_SET_ELEM_DATA, &element.data)}) {
        if (value->empty()) continue;
        size_t nested = batch_.BeginNest(static_cast<uint16_t>(type));
        batch_.Bytes(NFTA_DATA_VALUE, *value);
        batch_.EndNest(nested);
      }
      batch_.EndNest(nest);
    }
    batch_.EndNest(list);
  }
}

NftBatch& NftBatch::AddElements(std::string_view set, const std::vector<NftElement>& elements) {
  Elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements);
  return *this;
}

NftBatch& NftBatch::DeleteElements(std::string_view set, const std::vector<NftElement>& elements) {
  Elements(NFT_MSG_DELSETELEM, 0, set, elements);
  return *this;
}

NftBatch& NftBatch::AddRule(std::string_view chain, const NftRule& rule, std::string_view comment) {
  Begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  batch_.String(NFTA_RULE_TABLE, table_);
  batch_.String(NFTA_RULE_CHAIN, chain);
  batch_.Bytes(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, rule.bytes());
  CHECK(comment.size() < 250);
  std::string user_data{kCommentTag, static_cast<char>(comment.size() + 1)};
  user_data += comment;
  user_data += '\0';
  batch_.Bytes(NFTA_RULE_USERDATA, user_data);
  return *this;
}

NftBatch& NftBatch::DeleteRule(std::string_view chain, uint64_t handle) {
  Begin(NFT_MSG_DELRULE, 0);
  batch_.String(NFTA_RULE_TABLE, table_);
  batch_.String(NFTA_RULE_CHAIN, chain);
  batch_.Be64(NFTA_RULE_HANDLE, handle);
  return *this;
}

Result<> NftBatch::Commit(NetlinkSocket* socket) {
  if (empty()) return {};
  batch_.Begin(NFNL_MSG_BATCH_END, 0, BatchHeader());
  TRY_WITH(socket->TransactAtomic(&batch_), "changing nft table '{}'", table_);
  return {};
}

Result<std::vector<std::string>> ListNftTables(NetlinkSocket* socket, NftFamily family) {
  return List<std::string>(socket, family, NFT_MSG_GETTABLE, NFTA_TABLE_NAME, "",
                           TakeNames("", 0, NFTA_TABLE_NAME));
}

Result<bool> NftTableExists(NetlinkSocket* socket, NftFamily family, const std::string& table) {
  std::vector<std::string> tables = TRY(ListNftTables(socket, family));
  return std::find(tables.begin(), tables.end(), table) != tables.end();
}

Result<std::vector<std::string>> ListNftChains(NetlinkSocket* socket, NftFamily family,
                                               const std::string& table) {
  return List<std::string>(socket, family, NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, table,
                           TakeNames(table, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME));
}

Result<std::vector<std::string>> ListNftSets(NetlinkSocket* socket, NftFamily family,
                                             const std::string& table) {
  return List<std::string>(socket, family, NFT_MSG_GETSET, NFTA_SET_TABLE, table,
                           TakeNames(table, NFTA_SET_TABLE, NFTA_SET_NAME));
}

Result<std::vector<NftListedRule>> ListNftRules(NetlinkSocket* socket, NftFamily family,
                                                const std::string& table) {
  auto take = [&](const NetlinkMessage& message, std::vector<NftListedRule>* out) {
    NftListedRule rule;
    std::string of_table;
    for (const NetlinkAttribute& attribute : message.AttributesAfter<nfgenmsg>()) {
      switch (attribute.type) {
        case NFTA_RULE_TABLE:
          of_table = attribute.String();
          break;
        case NFTA_RULE_CHAIN:
          rule.chain = attribute.String();
          break;
        case NFTA_RULE_HANDLE:
          rule.handle = attribute.Be64();
          break;
        case NFTA_RULE_USERDATA:
          rule.comment = CommentOf(attribute.data);
          break;
        default:
          break;
      }
    }
    if (of_table == table) out->push_back(std::move(rule));
  };
  return List<NftListedRule>(socket, family, NFT_MSG_GETRULE, NFTA_RULE_TABLE, table, take);
}

std::vector<NftElement> ParseNftElements(const NetlinkMessage& message) {
  std::vector<NftElement> elements;
  auto value_of = [](std::string_view nest) {
    for (const NetlinkAttribute& attribute : ParseAttributes(nest)) {
      if (attribute.type == NFTA_DATA_VALUE) return std::string(attribute.data);
    }
    return std::string();
  };
  for (const NetlinkAttribute& list : message.AttributesAfter<nfgenmsg>()) {
    if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
    for (const NetlinkAttribute& item : ParseAttributes(list.data)) {
      NftElement element;
      for (const NetlinkAttribute& attribute : ParseAttributes(item.data)) {
        if (attribute.type == NFTA_SET_ELEM_KEY) element.key = value_of(attribute.data);
        if (attribute.type == NFTA_SET_ELEM_KEY_END) element.last = value_of(attribute.data);
        if (attribute.type == NFTA_SET_ELEM_DATA) element.data = value_of(attribute.data);
        if (attribute.type == NFTA_SET_ELEM_FLAGS) {
          element.interval_end = (attribute.Be32() & NFT_SET_ELEM_INTERVAL_END) != 0;
        }
      }
      elements.push_back(std::move(element));
    }
  }
  return elements;
}

Result<std::vector<NftElement>> ListNftElements(NetlinkSocket* socket, NftFamily family,
                                                const std::string& table, const std::string& set) {
  std::vector<NftElement> found;
  NetlinkBatch batch;
  batch.Begin(Type(NFT_MSG_GETSETELEM), 0, Header(static_cast<uint8_t>(family)));
  batch.String(NFTA_SET_ELEM_LIST_TABLE, table);
  batch.String(NFTA_SET_ELEM_LIST_SET, set);
  auto visit = [&](const NetlinkMessage& message) {
    for (NftElement& element : ParseNftElements(message)) found.push_back(std::move(element));
  };
  TRY_WITH(socket->Dump(&batch, visit, [&] { found.clear(); }), "listing nft set '{}' of '{}'", set,
           table);
  return found;
}

}  // namespace gantry::kernel
