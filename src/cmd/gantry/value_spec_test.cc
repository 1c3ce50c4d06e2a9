// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/value_spec.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/io.h"
#include "cmd/gantry/table.h"
#include "cmd/gantry/time_spec.h"

namespace gantry::cli {
namespace {

TEST(ValueSpec, Limits) {
  EXPECT_EQ(ParseUlimit("nofile=10:20")->Dump(), R"({"Name":"nofile","Hard":20,"Soft":10})");
  EXPECT_EQ(ParseUlimit("core=-1")->Dump(), R"({"Name":"core","Hard":-1,"Soft":-1})");
  EXPECT_FALSE(ParseUlimit("nofile=20:10").ok());
  EXPECT_FALSE(ParseUlimit("nofiles=1").ok());
  EXPECT_EQ(*ParseCpus("1.5"), 1'500'000'000);
  EXPECT_EQ(*ParseCpus(".25"), 250'000'000);
  EXPECT_EQ(ParseCpus("0.0000000001").error().message(), "value is too precise");
  EXPECT_FALSE(ParseCpus("a").ok());
  EXPECT_FALSE(ParseCpus(".").ok());
}

TEST(ValueSpec, Rates) {
  EXPECT_EQ(*ParseBitRate("10mbit"), 10'000'000);
  EXPECT_EQ(*ParseBitRate("2.5Gbit"), 2'500'000'000);
  EXPECT_EQ(*ParseBitRate("500kbps"), 4'000'000);
  EXPECT_EQ(*ParseBitRate("1mibit"), 1 << 20);
  EXPECT_EQ(*ParseBitRate("64000"), 64'000);
  EXPECT_EQ(*ParseBitRate("0"), 0);
  for (const char* bad : {"", "mbit", "-1", "1mb", "1 mbit", "1.2.3mbit", "9999999gbit", "0x10"}) {
    EXPECT_FALSE(ParseBitRate(bad).ok()) << bad;
  }
}

TEST(ValueSpec, NetClasses) {
  EXPECT_EQ(*ParseNetClass("10:1"), 0x00100001);
  EXPECT_EQ(*ParseNetClass("ffff:FFFF"), 0xffffffff);
  EXPECT_EQ(*ParseNetClass("0:1"), 1);
  for (const char* bad : {"", "10", ":1", "10:", "0:0", "10000:1", "-1:1", "10:1:1", "0x10:1"}) {
    EXPECT_FALSE(ParseNetClass(bad).ok()) << bad;
  }
  EXPECT_EQ(ParseNetPriority("eth0=5")->Dump(), R"({"Name":"eth0","Priority":5})");
  for (const char* bad : {"", "eth0", "=5", "eth0=", "eth0=-1", "eth0=4294967296"}) {
    EXPECT_FALSE(ParseNetPriority(bad).ok()) << bad;
  }
}

TEST(ValueSpec, Hosts) {
  EXPECT_EQ(*ParseExtraHost("a=1.2.3.4"), "a:1.2.3.4");
  EXPECT_EQ(*ParseExtraHost("a:[::1]"), "a:::1");
  EXPECT_EQ(*ParseExtraHost("a:host-gateway"), "a:host-gateway");
  EXPECT_FALSE(ParseExtraHost("a:b").ok());
  EXPECT_EQ((*ParseRestartPolicy("on-failure:3"))["MaximumRetryCount"].AsInt(), 3);
  EXPECT_FALSE(ParseRestartPolicy("on-failure:x").ok());
}

TEST(ValueSpec, Variables) {
  ::setenv("GANTRY_TEST_VARIABLE", "v", 1);
  EXPECT_EQ(*ParseVariable("GANTRY_TEST_VARIABLE"), "GANTRY_TEST_VARIABLE=v");
  EXPECT_EQ(*ParseVariable("GANTRY_TEST_MISSING"), "GANTRY_TEST_MISSING");
  EXPECT_FALSE(ParseVariable("=x").ok());
  std::string path = fmt::format("{}/pairs-{}", ::testing::TempDir(), ::getpid());
  ASSERT_TRUE(CreateFile(path, "# c\n\n  A=1 2\r\nGANTRY_TEST_VARIABLE\nMISSING_ONE\n", 0600).ok());
  EXPECT_EQ(*ReadPairsFile(path, true),
            (std::vector<std::string>{"A=1 2", "GANTRY_TEST_VARIABLE=v"}));
  EXPECT_EQ(*ReadPairsFile(path, false), (std::vector<std::string>{"A=1 2"}));
  ASSERT_TRUE(CreateFile(path, "A B=1\n", 0600).ok());
  EXPECT_FALSE(ReadPairsFile(path, true).ok());
  ::unlink(path.c_str());
}

TEST(TimeSpec, Forms) {
  WallTime now = FromUnixNanos(1'000'000'000'500'000'000);
  EXPECT_EQ(*ParseTimeSpec("10m", now), "999999400.500000000");
  EXPECT_EQ(*ParseTimeSpec("1763787600.5", now), "1763787600.5");
  EXPECT_EQ(*ParseTimeSpec("1970-01-01T00:00:01.5Z", now), "1.500000000");
  EXPECT_TRUE(ParseTimeSpec("2026-11-22T05:00", now).ok());
  EXPECT_TRUE(ParseTimeSpec("2026-11-22", now).ok());
  EXPECT_FALSE(ParseTimeSpec("yesterday", now).ok());
  EXPECT_FALSE(ParseTimeSpec("", now).ok());
}

TEST(Table, AlignsByCharacters) {
  Table table(Table::Layout{});
  table.AddRow({"ID", "COMMAND", "NAME"});
  table.AddRow({"123456789012", "\"ä…\"", "x"});
  EXPECT_EQ(table.Format(), "ID             COMMAND   NAME\n123456789012   \"ä…\"      x\n");
  EXPECT_TRUE(NaturallyLess("9/tcp", "80/tcp"));
  EXPECT_FALSE(NaturallyLess("80/tcp", "80/tcp"));
}

}  // namespace
}  // namespace gantry::cli
