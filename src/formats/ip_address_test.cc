// SPDX-License-Identifier: Apache-2.0
#include "formats/ip_address.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

TEST(Ipv4AddressTest, ParsesStrictly) {
  EXPECT_EQ(Ipv4Address::Parse("172.17.0.2")->value, 0xac110002u);
  EXPECT_EQ(Ipv4Address{0xffffffff}.ToString(), "255.255.255.255");
  for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4",
                          "1..2.3", "+1.2.3.4", "0x1.2.3.4", "1.2.3.-4"}) {
    EXPECT_FALSE(Ipv4Address::Parse(bad).ok()) << bad;
  }
}

TEST(Ipv4PrefixTest, ParsesAndCompares) {
  Ipv4Prefix pool = *Ipv4Prefix::Parse("172.17.0.0/16");
  EXPECT_EQ(pool.ToString(), "172.17.0.0/16");
  EXPECT_EQ(pool.Last().ToString(), "172.17.255.255");
  EXPECT_TRUE(pool.Contains(*Ipv4Address::Parse("172.17.3.4")));
  EXPECT_FALSE(pool.Contains(*Ipv4Address::Parse("172.18.0.1")));
  EXPECT_TRUE(pool.Overlaps(*Ipv4Prefix::Parse("172.17.9.0/24")));
  EXPECT_TRUE(pool.Overlaps(*Ipv4Prefix::Parse("0.0.0.0/0")));
  EXPECT_FALSE(pool.Overlaps(*Ipv4Prefix::Parse("172.18.0.0/16")));
  EXPECT_EQ(Ipv4Prefix::Of(*Ipv4Address::Parse("10.1.2.3"), 32).ToString(), "10.1.2.3/32");
  for (const char* bad :
       {"", "/", "172.17.0.0", "172.17.0.0/", "172.17.0.0/33", "172.17.0.1/16", "172.17.0.0/16x"}) {
    EXPECT_FALSE(Ipv4Prefix::Parse(bad).ok()) << bad;
  }
}

TEST(Ipv6AddressTest, ParsesAndPrintsTheShortestForm) {
  EXPECT_EQ(Ipv6Address::Parse("FD00:0:0:0:0:0:0:2")->ToString(), "fd00::2");
  EXPECT_EQ(Ipv6Address::Parse("::ffff:192.0.2.1")->ToString(), "::ffff:192.0.2.1");
  EXPECT_TRUE(Ipv6Address::Parse("::ffff:192.0.2.1")->IsMapped());
  EXPECT_TRUE(Ipv6Address::Parse("::1")->IsLoopback());
  EXPECT_TRUE(Ipv6Address::Parse("febf::1")->IsLinkLocal());
  EXPECT_FALSE(Ipv6Address::Parse("fec0::1")->IsLinkLocal());
  EXPECT_TRUE(Ipv6Address{}.IsUnspecified());
  for (const char* bad :
       {"", ":", "fe80::1%eth0", "1.2.3.4", "fd00::1::2", "fd00::12345", "fd00::1 "}) {
    EXPECT_FALSE(Ipv6Address::Parse(bad).ok()) << bad;
  }
  EXPECT_FALSE(Ipv6Address::Parse(std::string_view("::1\0x", 5)).ok());
}

TEST(Ipv6AddressTest, CountsOn) {
  EXPECT_EQ(Ipv6Address::Parse("fd00::ffff")->Plus(1).ToString(), "fd00::1:0");
  EXPECT_EQ(Ipv6Address::Parse("fd00::1")->Plus(~uint64_t{0}).ToString(), "fd00:0:0:1::");
  EXPECT_EQ(Ipv6Address::Parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")->Plus(1), Ipv6Address{});
  EXPECT_EQ(Ipv6Address::Parse("fd00::1:2:3")->LowBits(), 0x20003u);
}

TEST(Ipv6PrefixTest, ParsesAndCompares) {
  Ipv6Prefix pool = *Ipv6Prefix::Parse("fd00:1::/60");
  EXPECT_EQ(pool.ToString(), "fd00:1::/60");
  EXPECT_EQ(pool.Last().ToString(), "fd00:1:0:f:ffff:ffff:ffff:ffff");
  EXPECT_TRUE(pool.Contains(*Ipv6Address::Parse("fd00:1:0:f::9")));
  EXPECT_FALSE(pool.Contains(*Ipv6Address::Parse("fd00:1:0:10::")));
  EXPECT_TRUE(pool.Overlaps(*Ipv6Prefix::Parse("fd00:1:0:5::/64")));
  EXPECT_TRUE(pool.Overlaps(*Ipv6Prefix::Parse("::/0")));
  EXPECT_FALSE(pool.Overlaps(*Ipv6Prefix::Parse("fd00:2::/64")));
  EXPECT_EQ(Ipv6Prefix::Parse("fd00::1/128")->Last().ToString(), "fd00::1");
  Ipv6Address address;
  EXPECT_EQ(Ipv6Prefix::ParseLoosely("fd00::1/64", &address)->ToString(), "fd00::/64");
  EXPECT_EQ(address.ToString(), "fd00::1");
  for (const char* bad : {"", "/", "fd00::", "fd00::/", "fd00::/129", "fd00::1/64", "fd00::/64x"}) {
    EXPECT_FALSE(Ipv6Prefix::Parse(bad).ok()) << bad;
  }
}

TEST(MacAddressTest, ParsesAndFollowsTheAddress) {
  EXPECT_EQ(MacAddress::Of(*Ipv4Address::Parse("172.17.0.2")).ToString(), "02:42:ac:11:00:02");
  EXPECT_EQ(MacAddress::Parse("AA-bb-0c-00-01-02")->ToString(), "aa:bb:0c:00:01:02");
  for (const char* bad : {"", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:0",
                          "02:42:ac:11:00:zz", "0242ac110002"}) {
    EXPECT_FALSE(MacAddress::Parse(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace gantry::formats
