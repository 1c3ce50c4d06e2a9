// SPDX-License-Identifier: Apache-2.0
#include "formats/mode_change.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

mode_t Changed(std::string_view text, mode_t mode, bool is_directory = false) {
  auto change = ModeChange::Parse(text);
  EXPECT_TRUE(change.ok()) << text;
  return change.ok() ? change->Apply(mode, is_directory) : 0;
}

TEST(ModeChangeTest, Octal) {
  EXPECT_EQ(Changed("755", 0), 0755u);
  EXPECT_EQ(Changed("0", 07777), 0u);
  EXPECT_EQ(Changed("7777", 0), 07777u);
  EXPECT_EQ(ModeChange(0640).Apply(0777, false), 0640u);
}

// What chmod(1) of coreutils makes of the same.
TEST(ModeChangeTest, Letters) {
  EXPECT_EQ(Changed("go-w", 0666), 0644u);
  EXPECT_EQ(Changed("u=rw,g=r,o=r", 0777), 0644u);
  EXPECT_EQ(Changed("o-rwx,g+x", 0644), 0650u);
  EXPECT_EQ(Changed("u=rwx,g=,o=", 0644), 0700u);
  EXPECT_EQ(Changed("u+rw,g+r,o-x,o+w", 0124), 0766u);
  EXPECT_EQ(Changed("=rw", 0777), 0666u);
  EXPECT_EQ(Changed("+x", 0600), 0711u);
  EXPECT_EQ(Changed("u+x-r", 0644), 0344u);
  EXPECT_EQ(Changed("g=u", 0640), 0660u);
  EXPECT_EQ(Changed("go=u-w", 0700), 0755u);
  EXPECT_EQ(Changed("o+g", 0640), 0644u);
  EXPECT_EQ(Changed("u+s,g+s", 0755), 06755u);
  EXPECT_EQ(Changed("a-s", 06755), 0755u);
  EXPECT_EQ(Changed("+t", 0777), 01777u);
  EXPECT_EQ(Changed("o+t", 0777), 0777u);
}

TEST(ModeChangeTest, ExecutableWhereSomebodyMayExecute) {
  EXPECT_EQ(Changed("a+X", 0644), 0644u);
  EXPECT_EQ(Changed("a+X", 0744), 0755u);
  EXPECT_EQ(Changed("a+X", 0644, true), 0755u);
  EXPECT_EQ(Changed("u=rwX,go=rX", 0500, true), 0755u);
  EXPECT_EQ(Changed("u=rwX,go=rX", 0444), 0644u);
  EXPECT_EQ(Changed("a-X", 0755), 0644u);
}

TEST(ModeChangeTest, Errors) {
  for (const char* text : {"", "8", "64a", "10000", "u", "u+q", "q+r", "u+r,", ",u+r", "u+ru",
                           "u+ur", "rwx", "u=gg"}) {
    auto change = ModeChange::Parse(text);
    ASSERT_FALSE(change.ok()) << text;
    EXPECT_EQ(change.error().message(), fmt::format("invalid mode: '{}'", text));
  }
}

}  // namespace
}  // namespace gantry::formats
