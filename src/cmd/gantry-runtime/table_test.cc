// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-runtime/table.h"

#include <gtest/gtest.h>

namespace gantry::cmd {
namespace {

TEST(TableTest, ColumnsAsRuncHasThem) {
  Table table({"ID", "PID", "OWNER"});
  table.Add({"a-name-of-some-length", "7", "root"});
  EXPECT_EQ(table.Text(),
            "ID                      PID         OWNER\n"
            "a-name-of-some-length   7           root\n");
}

TEST(TableTest, ProcessesByTheirNumbers) {
  std::string text =
      "UID          PID    PPID CMD\n"
      "root           7       1 sleep 8\n"
      "root           8       1 sleep 7\n"
      "root          77       1 sleep\n";
  EXPECT_EQ(ProcessesOfTable(text, {7, 77}).value(),
            "UID          PID    PPID CMD\n"
            "root           7       1 sleep 8\n"
            "root          77       1 sleep\n");
  EXPECT_FALSE(ProcessesOfTable("UID CMD\nroot sleep\n", {7}).ok());
  EXPECT_FALSE(ProcessesOfTable("", {7}).ok());
}

TEST(TableTest, UserNames) {
  EXPECT_EQ(UserName(0), "root");
  EXPECT_EQ(UserName(3999999999), "3999999999");
}

}  // namespace
}  // namespace gantry::cmd
