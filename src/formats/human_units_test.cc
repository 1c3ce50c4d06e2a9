// SPDX-License-Identifier: Apache-2.0
#include "formats/human_units.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

using namespace std::chrono_literals;

TEST(HumanUnits, Sizes) {
  EXPECT_EQ(HumanSize(0, 3), "0B");
  EXPECT_EQ(HumanSize(1980000, 3), "1.98MB");
  EXPECT_EQ(HumanSize(1000), "1kB");
  EXPECT_EQ(BinarySize(1536), "1.5KiB");
  EXPECT_EQ(BinarySize(4.0 * 1024 * 1024 * 1024), "4GiB");
}

TEST(HumanUnits, ParsesSizes) {
  EXPECT_EQ(*ParseBinarySize("512m"), 512 << 20);
  EXPECT_EQ(*ParseBinarySize("1.5GiB"), 3LL << 29);
  EXPECT_EQ(*ParseBinarySize("100"), 100);
  EXPECT_EQ(*ParseBinarySize("7 kb"), 7168);
  EXPECT_EQ(*ParseBinarySize("7b"), 7);
  EXPECT_EQ(ParseBinarySize("abc").error().message(), "invalid size: 'abc'");
  EXPECT_EQ(ParseBinarySize("5x").error().message(), "invalid suffix: 'x'");
  EXPECT_EQ(ParseBinarySize("-1").error().message(), "invalid size: '-1'");
  EXPECT_FALSE(ParseBinarySize("5bb").ok());
  EXPECT_FALSE(ParseBinarySize("").ok());
  EXPECT_FALSE(ParseBinarySize("99999999999999999999p").ok());
}

TEST(HumanUnits, Durations) {
  EXPECT_EQ(HumanDuration(900ms), "Less than a second");
  EXPECT_EQ(HumanDuration(1s), "1 second");
  EXPECT_EQ(HumanDuration(59s), "59 seconds");
  EXPECT_EQ(HumanDuration(119s), "About a minute");
  EXPECT_EQ(HumanDuration(59min), "59 minutes");
  EXPECT_EQ(HumanDuration(89min), "About an hour");
  EXPECT_EQ(HumanDuration(47h), "47 hours");
  EXPECT_EQ(HumanDuration(24h * 13), "13 days");
  EXPECT_EQ(HumanDuration(24h * 20), "2 weeks");
  EXPECT_EQ(HumanDuration(24h * 100), "3 months");
  EXPECT_EQ(HumanDuration(24h * 800), "2 years");
}

TEST(HumanUnits, GoDurations) {
  EXPECT_EQ(*ParseGoDuration("1h2m3.5s"), 1h + 2min + 3500ms);
  EXPECT_EQ(*ParseGoDuration("-1.5m"), -90s);
  EXPECT_EQ(*ParseGoDuration("0"), 0s);
  EXPECT_EQ(*ParseGoDuration("7us"), 7us);
  EXPECT_EQ(ParseGoDuration("5").error().message(), "time: missing unit in duration \"5\"");
  EXPECT_EQ(ParseGoDuration("5x").error().message(), "time: unknown unit \"x\" in duration \"5x\"");
  EXPECT_EQ(ParseGoDuration("x").error().message(), "time: invalid duration \"x\"");
  EXPECT_FALSE(ParseGoDuration("99999999999h").ok());
  EXPECT_FALSE(ParseGoDuration("1..5s").ok());
  EXPECT_EQ(FormatGoDuration(90s), "1m30s");
  EXPECT_EQ(FormatGoDuration(1500ms), "1.5s");
  EXPECT_EQ(FormatGoDuration(-2h), "-2h0m0s");
  EXPECT_EQ(FormatGoDuration(1500us), "1.5ms");
  EXPECT_EQ(FormatGoDuration(0s), "0s");
}

}  // namespace
}  // namespace gantry::formats
