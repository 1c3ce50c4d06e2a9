// SPDX-License-Identifier: Apache-2.0
#include "formats/resctrl.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

TEST(ResctrlTest, AsTheKernelWritesIt) {
  auto schemata =
      ParseResctrlSchemata("    MB:0=  20;1= 100\n    L3:0=07ff;1=0x1f\nL2CODE:2=f\n").value();
  ASSERT_EQ(schemata.size(), 3U);
  EXPECT_EQ(schemata[0].resource, "MB");
  EXPECT_EQ(schemata[0].values.at("0"), 20U);
  EXPECT_EQ(schemata[0].values.at("1"), 100U);
  EXPECT_EQ(schemata[1].values.at("0"), 0x7ffU);
  EXPECT_EQ(schemata[1].values.at("1"), 0x1fU);
  EXPECT_EQ(schemata[2].resource, "L2CODE");
  EXPECT_EQ(schemata[2].values.at("2"), 15U);
}

TEST(ResctrlTest, Refuses) {
  for (const char* bad : {"L3", "L3:0", "L3:0=", "L3:0=g", "MB:0=f", "MB:0=0x1", "L3:=1",
                          "MB:0=1 2", "L3:0=10000000000000000"}) {
    EXPECT_FALSE(ParseResctrlSchemata(bad).ok()) << bad;
  }
  EXPECT_TRUE(ParseResctrlSchemata("").value().empty());
}

}  // namespace
}  // namespace gantry::formats
