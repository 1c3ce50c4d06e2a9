// SPDX-License-Identifier: Apache-2.0
#include "formats/dns_message.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

std::string Bytes(std::initializer_list<int> values) {
  std::string out;
  for (int value : values) out.push_back(static_cast<char>(value));
  return out;
}

// dig +noall Web.front A, as it is sent.
std::string Question(uint16_t type, const std::string& extra = "", int extra_count = 0) {
  return Bytes({0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, extra_count}) + "\3Web\5front" +
         std::string(1, '\0') + Bytes({type >> 8, type & 255, 0, 1}) + extra;
}

TEST(DnsMessageTest, ReadsAQuestion) {
  auto query = ParseDnsQuery(Question(1));
  ASSERT_TRUE(query.ok()) << query.error().message();
  EXPECT_EQ(query->id, 0x1234);
  EXPECT_TRUE(query->recursion_desired);
  EXPECT_EQ(query->name, "web.front");
  EXPECT_EQ(query->type, 1);
  EXPECT_EQ(query->dns_class, 1);
  EXPECT_EQ(query->max_size, 512u);
  // EDNS: 1,232 bytes.
  auto large = ParseDnsQuery(Question(28, Bytes({0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0}), 1));
  ASSERT_TRUE(large.ok()) << large.error().message();
  EXPECT_EQ(large->max_size, 1232u);
}

TEST(DnsMessageTest, RefusesWhatIsNoQuestion) {
  std::string good = Question(1);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseDnsQuery(good.substr(0, size)).ok()) << size;
  }
  std::string answer = good;
  answer[2] = static_cast<char>(0x81);
  EXPECT_FALSE(ParseDnsQuery(answer).ok());
  std::string two = good;
  two[5] = 2;
  EXPECT_FALSE(ParseDnsQuery(two).ok());
  std::string compressed = good.substr(0, 12) + Bytes({0xc0, 12, 0, 1, 0, 1});
  EXPECT_FALSE(ParseDnsQuery(compressed).ok());
  // A label with a dot inside names nobody.
  std::string dotted = good.substr(0, 12) + "\3a.b" + Bytes({0, 0, 1, 0, 1});
  EXPECT_EQ(ParseDnsQuery(dotted)->name, "");
}

TEST(DnsMessageTest, WritesAnAnswer) {
  DnsQuery query = *ParseDnsQuery(Question(1));
  std::string answer = EncodeDnsAnswer(query, DnsCode::kNoError,
                                       {DnsAddressRecord(*Ipv4Address::Parse("172.18.0.2"), 600)});
  EXPECT_EQ(answer, Bytes({0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}) + query.question +
                        Bytes({0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 0x58, 0, 4, 172, 18, 0, 2}));
  auto read = ParseDnsReply(answer);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->id, 0x1234);
  EXPECT_EQ(read->code, DnsCode::kNoError);
  EXPECT_EQ(read->least_ttl, 600u);
  EXPECT_TRUE(SameDnsQuestion(read->question, query.question));
  EXPECT_FALSE(SameDnsQuestion(read->question, ParseDnsQuery(Question(28))->question));
  AgeDnsReply(&answer, *read, 590);
  EXPECT_EQ(ParseDnsReply(answer)->least_ttl, 10u);
  AgeDnsReply(&answer, *read, 590);
  EXPECT_EQ(ParseDnsReply(answer)->least_ttl, 0u);
  std::string cut = CutDnsReply(answer, query);
  EXPECT_TRUE(ParseDnsReply(cut)->truncated);
  EXPECT_EQ(cut.size(), 12 + query.question.size());
  for (size_t size = 0; size < answer.size(); ++size) {
    EXPECT_FALSE(ParseDnsReply(answer.substr(0, size)).ok()) << size;
  }
}

TEST(DnsMessageTest, Pointers) {
  EXPECT_EQ(ParseDnsPointerName("2.0.18.172.in-addr.arpa")->ToString(), "172.18.0.2");
  for (const char* bad :
       {"0.18.172.in-addr.arpa", "1.2.0.18.172.in-addr.arpa", "a.0.18.172.in-addr.arpa",
        "2.0.18.172.in-addr.arpa.x", ".in-addr.arpa", "300.0.18.172.in-addr.arpa"}) {
    EXPECT_FALSE(ParseDnsPointerName(bad).has_value()) << bad;
  }
  const char* six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.d.f.ip6.arpa";
  EXPECT_EQ(ParseDnsPointerName6(six)->ToString(), "fda0::2");
  for (std::string bad :
       {std::string(six).substr(2), std::string("0.") + six, std::string("g") + (six + 1),
        std::string("ip6.arpa"), std::string(six) + "."}) {
    EXPECT_FALSE(ParseDnsPointerName6(bad).has_value()) << bad;
  }
  EXPECT_EQ(DnsAddressRecord(*Ipv6Address::Parse("fd00::2"), 600).data.size(), 16u);
  EXPECT_EQ(DnsPointerRecord("web.front", 600).data, "\3web\5front" + std::string(1, '\0'));
  // A label of 70 letters, and a name of 600.
  EXPECT_EQ(DnsPointerRecord(std::string(70, 'a'), 1).data.size(), 65u);
  EXPECT_LE(DnsPointerRecord(std::string(600, 'a') + ".b", 1).data.size(), 255u);
}

}  // namespace
}  // namespace gantry::formats
