// SPDX-License-Identifier: Apache-2.0
#include "engine/top.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

TEST(PsOutput, KeepsTheRowsOfTheContainer) {
  auto table = ParsePsOutput("  PID COMMAND\n    1 init\n   42 sh -c sleep 1\n", {42});
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table->titles, (std::vector<std::string>{"PID", "COMMAND"}));
  ASSERT_EQ(table->rows.size(), 1u);
  EXPECT_EQ(table->rows[0], (std::vector<std::string>{"42", "sh -c sleep 1"}));
}

TEST(PsOutput, WithoutPidsItMeansNothing) {
  EXPECT_FALSE(ParsePsOutput("COMMAND\ninit\n", {1}).ok());
}

}  // namespace
}  // namespace gantry::engine
