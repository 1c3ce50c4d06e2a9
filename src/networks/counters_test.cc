// SPDX-License-Identifier: Apache-2.0
#include "networks/counters.h"

#include <gtest/gtest.h>

namespace gantry::networks {
namespace {

TEST(CountersTest, SeesThemFromTheContainersSide) {
  auto counters = ParseCounters(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
      "drop\n"
      "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
      "veth0123456:18446744073709551615 2 0 3 0 0 0 0 40 5 0 6 0 0 0 0\n"
      "short: 1 2\n");
  ASSERT_EQ(counters.size(), 2U);
  const Counters& found = counters["veth0123456"];
  EXPECT_EQ(found.sent_bytes, UINT64_MAX);
  EXPECT_EQ(found.sent_packets, 2U);
  EXPECT_EQ(found.sent_dropped, 3U);
  EXPECT_EQ(found.received_bytes, 40U);
  EXPECT_EQ(found.received_packets, 5U);
  EXPECT_EQ(found.received_dropped, 6U);
  EXPECT_TRUE(ParseCounters("").empty());
}

TEST(CountersTest, ReadsThoseOfThisNamespace) {
  auto counters = ReadCounters();
  ASSERT_TRUE(counters.ok());
  EXPECT_TRUE(counters->contains("lo"));
}

}  // namespace
}  // namespace gantry::networks
