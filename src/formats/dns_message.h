// SPDX-License-Identifier: Apache-2.0
//
// DNS packets (RFC 1035, RFC 6891) as far as a resolver needs them that answers from a table and
// passes on the rest: questions are read whole, answers only walked over. Every read is bounded by
// the packet; names of questions are not compressed. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/ip_address.h"

namespace gantry::formats {

enum class DnsType : uint16_t {
  kA = 1,
  kPtr = 12,
  kMx = 15,
  kAaaa = 28,
  kOpt = 41,
};
inline constexpr uint16_t kDnsInternet = 1;  // the class
// What one may send over udp to who does not say more.
inline constexpr size_t kDnsPlainSize = 512;
inline constexpr size_t kDnsMaxSize = 65'535;

enum class DnsCode : uint8_t {
  kNoError = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNoName = 3,
  kNotImplemented = 4,
  kRefused = 5,
};

struct DnsQuery {
  uint16_t id = 0;
  bool recursion_desired = false;
  uint8_t opcode = 0;  // 0: a query
  // In lower case, without the final dot; "" for the root, and for names with dots or zeros inside
  // of a label, which no table has.
  std::string name;
  uint16_t type = 0;
  uint16_t dns_class = 0;
  std::string question;             // as it came: name, type and class
  size_t max_size = kDnsPlainSize;  // of an answer over udp, by EDNS
};

// kInvalidArgument for what is no query with one question.
Result<DnsQuery> ParseDnsQuery(std::string_view packet);

struct DnsRecord {
  DnsType type = DnsType::kA;
  uint32_t ttl = 0;  // seconds
  std::string data;
};
DnsRecord DnsAddressRecord(Ipv4Address address, uint32_t ttl);
DnsRecord DnsAddressRecord(const Ipv6Address& address, uint32_t ttl);
// `name` with dots; labels that are too long are cut off.
DnsRecord DnsPointerRecord(std::string_view name, uint32_t ttl);

// Records belong to the question's name.
std::string EncodeDnsAnswer(const DnsQuery& query, DnsCode code,
                            const std::vector<DnsRecord>& records);

// What a server sent.
struct DnsReply {
  uint16_t id = 0;
  DnsCode code = DnsCode::kNoError;
  bool truncated = false;
  std::string question;  // of the first one, as in DnsQuery
  std::optional<uint32_t> least_ttl;
  std::vector<size_t> ttl_at;  // offsets of the records' TTLs
};
Result<DnsReply> ParseDnsReply(std::string_view packet);
// Whether the reply answers just this question. Without regard to case.
bool SameDnsQuestion(std::string_view a, std::string_view b);

// The packet with another id; it has at least two bytes.
void SetDnsId(std::string* packet, uint16_t id);
// All TTLs less `seconds`, not below zero.
void AgeDnsReply(std::string* packet, const DnsReply& reply, uint32_t seconds);
// A marked answer without records, in place of one that does not fit.
std::string CutDnsReply(std::string_view packet, const DnsQuery& query);

// "2.0.18.172.in-addr.arpa" is 172.18.0.2.
std::optional<Ipv4Address> ParseDnsPointerName(std::string_view name);
// "2.0.….d.f.ip6.arpa", 32 digits, is fd00::…:2 (RFC 3596 section 2.5).
std::optional<Ipv6Address> ParseDnsPointerName6(std::string_view name);

}  // namespace gantry::formats
