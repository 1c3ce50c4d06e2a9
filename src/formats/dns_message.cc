// SPDX-License-Identifier: Apache-2.0
#include "formats/dns_message.h"

#include <algorithm>
#include <charconv>

namespace gantry::formats {
namespace {

constexpr size_t kHeaderSize = 12;
constexpr size_t kMaxName = 255;
constexpr size_t kMaxLabel = 63;
constexpr size_t kRecordHead = 10;  // type, class, TTL, length of the data
// Second and third byte of the header.
constexpr uint16_t kResponse = 0x8000;
constexpr uint16_t kTruncated = 0x0200;
constexpr uint16_t kRecursionDesired = 0x0100;
constexpr uint16_t kRecursionAvailable = 0x0080;
constexpr int kOpcodeShift = 11;
constexpr uint8_t kPointerBits = 0xc0;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

void Put16(std::string* out, uint16_t value) {
  out->push_back(static_cast<char>(value >> 8));
  out->push_back(static_cast<char>(value));
}

void Put32(std::string* out, uint32_t value) {
  Put16(out, static_cast<uint16_t>(value >> 16));
  Put16(out, static_cast<uint16_t>(value));
}

Error Malformed(std::string_view what) { return InvalidArgument("DNS packet: {}", what); }

// A place in a packet.
class Cursor {
 public:
  explicit Cursor(std::string_view packet) : packet_(packet) {}

  size_t at() const { return at_; }
  bool Has(size_t size) const { return packet_.size() - at_ >= size; }
  std::string_view From(size_t begin) const { return packet_.substr(begin, at_ - begin); }

  uint8_t Peek8() const { return static_cast<uint8_t>(packet_[at_]); }
  Result<uint16_t> Take16() {
    if (!Has(2)) return Malformed("cut off");
    auto byte = [&](size_t i) { return static_cast<uint8_t>(packet_[at_ + i]); };
    uint16_t value = static_cast<uint16_t>(byte(0) << 8 | byte(1));
    at_ += 2;
    return value;
  }
  Result<uint32_t> Take32() {
    uint32_t high = TRY(Take16());
    return high << 16 | TRY(Take16());
  }
  Result<> Skip(size_t size) {
    if (!Has(size)) return Malformed("cut off");
    at_ += size;
    return {};
  }

  // Over a name; where one goes on elsewhere (RFC 1035 section 4.1.4) its own bytes end.
  Result<> SkipName() {
    for (size_t begin = at_; at_ - begin <= kMaxName;) {
      if (!Has(1)) return Malformed("a name is cut off");
      uint8_t length = Peek8();
      if ((length & kPointerBits) == kPointerBits) return Skip(2);
      if (length > kMaxLabel) return Malformed("a label of unknown kind");
      TRY(Skip(size_t{1} + length));
      if (length == 0) return {};
    }
    return Malformed("a name is too long");
  }

  // An uncompressed name as text.
  Result<std::string> TakePlainName() {
    std::string name;
    bool plain = true;
    for (size_t begin = at_; at_ - begin <= kMaxName;) {
      if (!Has(1)) return Malformed("a name is cut off");
      uint8_t length = Peek8();
      if (length > kMaxLabel) return Malformed("the question's name is compressed");
      TRY(Skip(1));
      if (length == 0) return plain ? name : std::string();
      size_t label = at_;
      TRY(Skip(length));
      if (!name.empty()) name.push_back('.');
      for (char c : From(label)) {
        plain &= c != '.' && c != '\0';
        name.push_back(Lower(c));
      }
    }
    return Malformed("a name is too long");
  }

 private:
  std::string_view packet_;
  size_t at_ = 0;
};

struct Head {
  uint16_t id = 0;
  uint16_t flags = 0;
  uint16_t questions = 0;
  size_t records = 0;
};

Result<Head> TakeHead(Cursor* cursor) {
  Head head;
  head.id = TRY(cursor->Take16());
  head.flags = TRY(cursor->Take16());
  head.questions = TRY(cursor->Take16());
  for (int section = 0; section < 3; ++section) head.records += TRY(cursor->Take16());
  return head;
}

struct RecordHead {
  uint16_t type = 0;
  uint16_t record_class = 0;
  uint32_t ttl = 0;
  size_t ttl_at = 0;
};

// Over one record, its data too.
Result<RecordHead> TakeRecord(Cursor* cursor) {
  RecordHead head;
  TRY(cursor->SkipName());
  head.type = TRY(cursor->Take16());
  head.record_class = TRY(cursor->Take16());
  head.ttl_at = cursor->at();
  head.ttl = TRY(cursor->Take32());
  TRY(cursor->Skip(TRY(cursor->Take16())));
  return head;
}

std::string EncodeName(std::string_view name) {
  std::string out;
  while (!name.empty() && out.size() < kMaxName - kMaxLabel - 1) {
    size_t end = std::min(name.find('.'), name.size());
    std::string_view label = name.substr(0, std::min(end, kMaxLabel));
    name.remove_prefix(std::min(end + 1, name.size()));
    if (label.empty()) continue;
    out.push_back(static_cast<char>(label.size()));
    out += label;
  }
  out.push_back('\0');
  return out;
}

}  // namespace

Result<DnsQuery> ParseDnsQuery(std::string_view packet) {
  Cursor cursor(packet);
  Head head = TRY(TakeHead(&cursor));
  if ((head.flags & kResponse) != 0) return Malformed("an answer, not a question");
  if (head.questions != 1) return Malformed("not just one question");
  DnsQuery query;
  query.id = head.id;
  query.recursion_desired = (head.flags & kRecursionDesired) != 0;
  query.opcode = head.flags >> kOpcodeShift & 15;
  query.name = TRY(cursor.TakePlainName());
  query.type = TRY(cursor.Take16());
  query.dns_class = TRY(cursor.Take16());
  query.question = std::string(cursor.From(kHeaderSize));
  for (size_t i = 0; i < head.records; ++i) {
    RecordHead record = TRY(TakeRecord(&cursor));
    if (record.type != static_cast<uint16_t>(DnsType::kOpt)) continue;
    query.max_size = std::max<size_t>(record.record_class, kDnsPlainSize);
  }
  return query;
}

DnsRecord DnsAddressRecord(const Ipv6Address& address, uint32_t ttl) {
  return {DnsType::kAaaa, ttl, std::string(address.bytes.begin(), address.bytes.end())};
}

DnsRecord DnsAddressRecord(Ipv4Address address, uint32_t ttl) {
  DnsRecord record{DnsType::kA, ttl, {}};
  Put32(&record.data, address.value);
  return record;
}

DnsRecord DnsPointerRecord(std::string_view name, uint32_t ttl) {
  return {DnsType::kPtr, ttl, EncodeName(name)};
}

std::string EncodeDnsAnswer(const DnsQuery& query, DnsCode code,
                            const std::vector<DnsRecord>& records) {
  std::string out;
  Put16(&out, query.id);
  uint16_t flags = kResponse | kRecursionAvailable | static_cast<uint16_t>(code);
  flags |= static_cast<uint16_t>(query.opcode << kOpcodeShift);
  if (query.recursion_desired) flags |= kRecursionDesired;
  Put16(&out, flags);
  Put16(&out, 1);
  Put16(&out, static_cast<uint16_t>(records.size()));
  Put16(&out, 0);
  Put16(&out, 0);
  out += query.question;
  for (const DnsRecord& record : records) {
    // The name is the question's.
    Put16(&out, kPointerBits << 8 | kHeaderSize);
    Put16(&out, static_cast<uint16_t>(record.type));
    Put16(&out, kDnsInternet);
    Put32(&out, record.ttl);
    Put16(&out, static_cast<uint16_t>(record.data.size()));
    out += record.data;
  }
  return out;
}

Result<DnsReply> ParseDnsReply(std::string_view packet) {
  Cursor cursor(packet);
  Head head = TRY(TakeHead(&cursor));
  if ((head.flags & kResponse) == 0) return Malformed("a question, not an answer");
  if (head.questions != 1) return Malformed("not just one question");
  DnsReply reply;
  reply.id = head.id;
  reply.code = static_cast<DnsCode>(head.flags & 15);
  reply.truncated = (head.flags & kTruncated) != 0;
  TRY(cursor.SkipName());
  TRY(cursor.Skip(4));
  reply.question = std::string(cursor.From(kHeaderSize));
  // What a cut answer still has may end anywhere.
  for (size_t i = 0; i < head.records && !reply.truncated; ++i) {
    RecordHead record = TRY(TakeRecord(&cursor));
    if (record.type == static_cast<uint16_t>(DnsType::kOpt)) continue;
    reply.least_ttl = std::min(reply.least_ttl.value_or(record.ttl), record.ttl);
    reply.ttl_at.push_back(record.ttl_at);
  }
  return reply;
}

bool SameDnsQuestion(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Lower(x) == Lower(y); });
}

void SetDnsId(std::string* packet, uint16_t id) {
  (*packet)[0] = static_cast<char>(id >> 8);
  (*packet)[1] = static_cast<char>(id);
}

void AgeDnsReply(std::string* packet, const DnsReply& reply, uint32_t seconds) {
  for (size_t at : reply.ttl_at) {
    Cursor cursor(*packet);
    if (!cursor.Skip(at).ok()) continue;
    auto ttl = cursor.Take32();
    if (!ttl.ok()) continue;
    std::string aged;
    Put32(&aged, *ttl > seconds ? *ttl - seconds : 0);
    packet->replace(at, aged.size(), aged);
  }
}

std::string CutDnsReply(std::string_view packet, const DnsQuery& query) {
  CHECK(packet.size() >= kHeaderSize);
  std::string out(packet.substr(0, kHeaderSize));
  out[2] = static_cast<char>(out[2] | kTruncated >> 8);
  std::fill(out.begin() + 6, out.end(), '\0');
  return out + query.question;
}

std::optional<Ipv4Address> ParseDnsPointerName(std::string_view name) {
  constexpr std::string_view kDomain = ".in-addr.arpa";
  if (!name.ends_with(kDomain)) return std::nullopt;
  name.remove_suffix(kDomain.size());
  std::string reversed;
  for (int part = 0; part < 4; ++part) {
    size_t dot = name.rfind('.');
    if ((dot == std::string_view::npos) != (part == 3)) return std::nullopt;
    if (part > 0) reversed.push_back('.');
    reversed += dot == std::string_view::npos ? name : name.substr(dot + 1);
    name = name.substr(0, dot == std::string_view::npos ? 0 : dot);
  }
  auto address = Ipv4Address::Parse(reversed);
  if (!address.ok()) return std::nullopt;
  return *address;
}

std::optional<Ipv6Address> ParseDnsPointerName6(std::string_view name) {
  constexpr std::string_view kDomain = ".ip6.arpa";
  constexpr size_t kDigits = 32;
  if (!name.ends_with(kDomain)) return std::nullopt;
  name.remove_suffix(kDomain.size());
  if (name.size() != 2 * kDigits - 1) return std::nullopt;
  Ipv6Address address;
  for (size_t i = 0; i < kDigits; ++i) {
    if (i > 0 && name[2 * i - 1] != '.') return std::nullopt;
    char digit = name[2 * i];
    bool decimal = digit >= '0' && digit <= '9';
    if (!decimal && (digit < 'a' || digit > 'f')) return std::nullopt;
    auto value = static_cast<uint8_t>(decimal ? digit - '0' : digit - 'a' + 10);
    // The last digit comes first.
    uint8_t& byte = address.bytes[address.bytes.size() - 1 - i / 2];
    byte |= i % 2 == 0 ? value : static_cast<uint8_t>(value << 4);
  }
  return address;
}

}  // namespace gantry::formats
