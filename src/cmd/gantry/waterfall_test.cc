// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/waterfall.h"

#include <gtest/gtest.h>

namespace gantry::cli {
namespace {

TEST(WaterfallTest, PutsStepsOnOneScale) {
  std::string text = Waterfall(
      {{"engine", 2, 2'000'000, 3'000'000, "later"}, {"gantry", 1, 1'000'000, 5'000'000, "whole"}},
      4);
  EXPECT_EQ(text,
            "PROCESS   AT ms  FOR ms  STEP   \n"
            "gantry 1  0.000  4.000   whole  ████\n"
            "engine 2  1.000  1.000   later   █\n");
  EXPECT_EQ(Waterfall({}), "");
}

TEST(WaterfallTest, ShortStepsAreSeen) {
  std::string text = Waterfall(
      {{"a", 1, 0, 1'000'000'000, "long"}, {"b", 2, 999'999'999, 1'000'000'000, "short"}}, 10);
  EXPECT_NE(text.find("short           █\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace gantry::cli
