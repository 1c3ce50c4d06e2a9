// SPDX-License-Identifier: Apache-2.0
#include "networks/address_pool.h"

#include <gtest/gtest.h>

#include "networks/subnet_choice.h"

namespace gantry::networks {
namespace {

using formats::Ipv4Address;
using formats::Ipv4Prefix;

Ipv4Address At(const char* text) { return *Ipv4Address::Parse(text); }
Ipv4Prefix Net(const char* text) { return *Ipv4Prefix::Parse(text); }

TEST(AddressPoolTest, GivesTheLowestAndLetsOldOnesRest) {
  AddressPool pool(Net("172.17.0.0/16"), At("172.17.0.1"), std::chrono::seconds(2));
  auto now = SteadyClock::now();
  EXPECT_EQ(pool.free_count(), 65536u - 3);
  EXPECT_EQ(pool.Take(now)->ToString(), "172.17.0.2");
  EXPECT_EQ(pool.Take(now)->ToString(), "172.17.0.3");
  pool.GiveBack(At("172.17.0.2"), now);
  EXPECT_EQ(pool.Take(now)->ToString(), "172.17.0.4");
  EXPECT_EQ(pool.Take(now + std::chrono::seconds(2))->ToString(), "172.17.0.2");
}

TEST(AddressPoolTest, WhatTheFirstHasNotComesFromTheNext) {
  auto now = SteadyClock::now();
  auto rest = std::chrono::seconds(2);
  AddressPools pools(AddressPool(Net("10.0.0.0/30"), At("10.0.0.1"), rest));
  pools.Add(AddressPool(Net("10.0.9.0/30"), std::nullopt, rest));
  EXPECT_EQ(pools.Take(now)->ToString(), "10.0.0.2");
  EXPECT_EQ(pools.Take(now)->ToString(), "10.0.9.1");
  EXPECT_TRUE(pools.TakeWanted(At("10.0.9.2")).ok());
  EXPECT_EQ(pools.TakeWanted(At("10.0.9.2")).error().message(), "Address already in use");
  EXPECT_EQ(pools.Take(now).error().kind(), ErrorKind::kResourceExhausted);
  EXPECT_EQ(pools.TakeWanted(At("10.0.5.1")).error().message(),
            "no configured subnet contains IP address 10.0.5.1");
  pools.GiveBack(At("10.0.9.1"), now);
  EXPECT_EQ(pools.Take(now)->ToString(), "10.0.9.1");
}

TEST(AddressPoolTest, WantedAddresses) {
  AddressPool pool(Net("10.0.0.0/24"), At("10.0.0.1"), std::chrono::seconds(2));
  auto now = SteadyClock::now();
  ASSERT_TRUE(pool.TakeWanted(At("10.0.0.9")).ok());
  EXPECT_EQ(pool.TakeWanted(At("10.0.0.9")).error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(pool.TakeWanted(At("10.0.0.1")).error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(pool.TakeWanted(At("10.0.0.0")).error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(pool.TakeWanted(At("10.0.0.255")).error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(pool.TakeWanted(At("10.0.1.9")).error().kind(), ErrorKind::kInvalidArgument);
  pool.GiveBack(At("10.0.0.9"), now);
  EXPECT_TRUE(pool.TakeWanted(At("10.0.0.9")).ok());
}

TEST(AddressPoolTest, ExhaustionTakesRestingOnesFirst) {
  AddressPool pool(Net("10.0.0.0/29"), At("10.0.0.1"), std::chrono::hours(1));
  auto now = SteadyClock::now();
  for (int i = 2; i <= 6; ++i) EXPECT_EQ(pool.Take(now)->value & 7, static_cast<uint32_t>(i));
  EXPECT_EQ(pool.Take(now).error().kind(), ErrorKind::kResourceExhausted);
  pool.GiveBack(At("10.0.0.4"), now);
  pool.GiveBack(At("10.0.0.4"), now);
  pool.GiveBack(At("10.0.0.3"), now);
  EXPECT_EQ(pool.Take(now)->ToString(), "10.0.0.4");
  EXPECT_EQ(pool.Take(now)->ToString(), "10.0.0.3");
  EXPECT_FALSE(pool.Take(now).ok());
}

TEST(AddressPoolTest, HowFullASubnetIs) {
  auto now = SteadyClock::now();
  AddressPool pool(Net("10.0.0.0/24"), At("10.0.0.1"), std::chrono::hours(1), Net("10.0.0.64/31"));
  EXPECT_EQ(pool.in_use(), 3u);  // network, gateway, broadcast
  EXPECT_EQ(pool.available(), 2u);
  ASSERT_TRUE(pool.TakeWanted(At("10.0.0.200")).ok());
  ASSERT_TRUE(pool.Take(now).ok());
  EXPECT_EQ(pool.in_use(), 5u);
  EXPECT_EQ(pool.available(), 1u);
  pool.GiveBack(At("10.0.0.64"), now);
  pool.GiveBack(At("10.0.0.200"), now);
  EXPECT_EQ(pool.in_use(), 3u);
  EXPECT_EQ(pool.available(), 2u);
  AddressPool huge(Net("10.0.0.0/8"), At("10.0.0.1"), std::chrono::hours(1));
  ASSERT_TRUE(huge.TakeWanted(At("10.200.0.1")).ok());
  EXPECT_EQ(huge.in_use(), 4u);  // broadcast and the wanted one are beyond the window
  EXPECT_EQ(huge.available(), (1u << 24) - 4);
  AddressPool pair(Net("10.0.0.0/31"), std::nullopt, std::chrono::hours(1));
  EXPECT_EQ(pair.in_use(), 0u);
  EXPECT_EQ(pair.available(), 2u);
}

TEST(AddressPoolTest, PoolsInPartsOfASize) {
  std::vector<SubnetPool> pools = {{Net("10.0.0.0/16"), 24}, {Net("10.1.0.0/28"), 28}};
  EXPECT_EQ(InParts(pools, std::nullopt), pools);
  EXPECT_EQ(InParts(pools, 20), (std::vector<SubnetPool>{{Net("10.0.0.0/16"), 20}}));
  EXPECT_EQ(InParts(pools, 30).size(), 2u);
}

TEST(AddressPoolTest, SmallAndLargeSubnets) {
  auto now = SteadyClock::now();
  AddressPool pair(Net("10.0.0.0/31"), At("10.0.0.0"), std::chrono::seconds(1));
  EXPECT_EQ(pair.Take(now)->ToString(), "10.0.0.1");
  AddressPool single(Net("10.0.0.1/32"), At("10.0.0.1"), std::chrono::seconds(1));
  EXPECT_FALSE(single.Take(now).ok());
  AddressPool huge(Net("10.0.0.0/8"), At("10.0.0.1"), std::chrono::seconds(1));
  EXPECT_EQ(huge.free_count(), 65536u - 2);
  // Beyond the window an address is given to who asks for it by name.
  EXPECT_TRUE(huge.TakeWanted(At("10.200.0.1")).ok());
  EXPECT_EQ(huge.TakeWanted(At("10.200.0.1")).error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(huge.TakeWanted(At("10.255.255.255")).error().kind(), ErrorKind::kPermissionDenied);
  huge.GiveBack(At("10.200.0.1"), now);
  EXPECT_TRUE(huge.TakeWanted(At("10.200.0.1")).ok());
}

TEST(AddressPoolTest, TakesFromTheRangeAlone) {
  auto now = SteadyClock::now();
  AddressPool pool(Net("10.81.0.0/16"), At("10.81.5.128"), std::chrono::hours(1),
                   Net("10.81.5.128/30"));
  EXPECT_EQ(pool.free_count(), 3u);
  ASSERT_TRUE(pool.TakeWanted(At("10.81.5.129")).ok());
  EXPECT_EQ(pool.Take(now)->ToString(), "10.81.5.130");
  EXPECT_EQ(pool.Take(now)->ToString(), "10.81.5.131");
  EXPECT_EQ(pool.Take(now).error().kind(), ErrorKind::kResourceExhausted);
  EXPECT_TRUE(pool.TakeWanted(At("10.81.0.9")).ok());
  pool.GiveBack(At("10.81.0.9"), now);
  EXPECT_EQ(pool.Take(now).error().kind(), ErrorKind::kResourceExhausted);
  pool.GiveBack(At("10.81.5.130"), now);
  EXPECT_EQ(pool.Take(now)->ToString(), "10.81.5.130");
  // A range far into a large subnet.
  AddressPool far(Net("10.0.0.0/8"), At("10.9.5.0"), std::chrono::hours(1), Net("10.9.5.0/24"));
  EXPECT_EQ(far.Take(now)->ToString(), "10.9.5.1");
  EXPECT_EQ(far.TakeWanted(At("10.0.0.0")).error().kind(), ErrorKind::kPermissionDenied);
}

TEST(AddressPoolTest, OfIpv6) {
  using formats::Ipv6Address;
  using formats::Ipv6Prefix;
  auto at = [](const char* text) { return *Ipv6Address::Parse(text); };
  auto now = SteadyClock::now();
  AddressPool6 pool(*Ipv6Prefix::Parse("fd00::/64"), at("fd00::1"), std::chrono::seconds(2));
  EXPECT_EQ(pool.available(), uint64_t{0} - 2);
  // No broadcast address.
  EXPECT_EQ(pool.free_count(), 65536u - 2);
  EXPECT_EQ(pool.Take(now)->ToString(), "fd00::2");
  ASSERT_TRUE(pool.TakeWanted(at("fd00::3")).ok());
  ASSERT_TRUE(pool.TakeWanted(at("fd00::a:b:c")).ok());
  EXPECT_EQ(pool.TakeWanted(at("fd00::a:b:c")).error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(pool.TakeWanted(at("fd00::")).error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(pool.TakeWanted(at("fd01::5")).error().kind(), ErrorKind::kInvalidArgument);
  EXPECT_EQ(pool.Take(now)->ToString(), "fd00::4");
  pool.GiveBack(at("fd00::2"), now);
  EXPECT_EQ(pool.Take(now + std::chrono::seconds(2))->ToString(), "fd00::2");
  AddressPool6 larger(*Ipv6Prefix::Parse("fd00::/56"), at("fd00::1"), std::chrono::seconds(2));
  EXPECT_EQ(larger.available(), ~uint64_t{0});
  AddressPool6 small(*Ipv6Prefix::Parse("fd00::/126"), at("fd00::1"), std::chrono::seconds(2));
  EXPECT_EQ(small.Take(now)->ToString(), "fd00::2");
  EXPECT_EQ(small.Take(now)->ToString(), "fd00::3");
  EXPECT_EQ(small.Take(now).error().message(),
            "no available IPv6 addresses on this network's address pools: fd00::/126");
  AddressPool6 ranged(*Ipv6Prefix::Parse("fd00::/64"), at("fd00::1"), std::chrono::seconds(2),
                      *Ipv6Prefix::Parse("fd00:0:0:0:5::/80"));
  EXPECT_EQ(*ranged.Take(now), at("fd00:0:0:0:5::"));
}

TEST(SubnetChoiceTest, TakesTheFirstThatNothingOverlaps) {
  std::vector<SubnetPool> pools = DefaultSubnetPools();
  auto choose = [&](std::vector<Ipv4Prefix> used) {
    return gantry::networks::ChooseSubnet(pools, used);
  };
  EXPECT_EQ(choose({})->ToString(), "172.17.0.0/16");
  EXPECT_EQ(choose({Net("172.17.5.0/24"), Net("172.18.0.0/15")})->ToString(), "172.20.0.0/16");
  EXPECT_EQ(choose({Net("0.0.0.0/0")})->ToString(), "172.17.0.0/16");
  EXPECT_EQ(choose({Net("172.16.0.0/12")})->ToString(), "192.168.0.0/20");
  EXPECT_EQ(choose({Net("172.16.0.0/12"), Net("192.168.1.0/24")})->ToString(), "192.168.16.0/20");
  EXPECT_EQ(choose({Net("172.16.0.0/12"), Net("192.168.0.0/16")}).error().kind(),
            ErrorKind::kResourceExhausted);
}

TEST(SubnetChoiceTest, OfIpv6) {
  using formats::Ipv6Prefix;
  std::vector<SubnetPool6> pools = DefaultSubnetPools6("01234567-89ab-4cde-8f01-23456789abcd");
  ASSERT_EQ(pools.size(), 1u);
  EXPECT_EQ(pools[0].size, 64);
  EXPECT_EQ(pools[0].base.length, 48);
  EXPECT_EQ(pools[0].base.network.bytes[0], 0xfd);
  EXPECT_NE(pools, DefaultSubnetPools6("another"));
  EXPECT_EQ(*ChooseSubnet(pools, {}), (Ipv6Prefix{pools[0].base.network, 64}));
  EXPECT_EQ(
      *ChooseSubnet(pools, {Ipv6Prefix{pools[0].base.network, 64}}),
      (Ipv6Prefix{pools[0].base.network.Plus(uint64_t{1} << 63).Plus(uint64_t{1} << 63), 64}));
  // A pool of 2^60 parts, all but the last of them taken.
  std::vector<SubnetPool6> wide = {{*Ipv6Prefix::Parse("fd00::/60"), 120}};
  auto first =
      ChooseSubnet(wide, {*Ipv6Prefix::Parse("fd00::/61"), *Ipv6Prefix::Parse("fd00:0:0:8::/62")});
  EXPECT_EQ(first->ToString(), "fd00:0:0:c::/120");
  EXPECT_EQ(ChooseSubnet(wide, {*Ipv6Prefix::Parse("fd00::/16")}).error().kind(),
            ErrorKind::kResourceExhausted);
}

}  // namespace
}  // namespace gantry::networks
