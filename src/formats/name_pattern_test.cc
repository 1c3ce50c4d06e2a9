// SPDX-License-Identifier: Apache-2.0
#include "formats/name_pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace gantry::formats {
namespace {

bool Found(std::string_view pattern, std::string_view name) {
  return NamePattern(pattern).IsFoundIn(name);
}

TEST(NamePatternTest, WhatPeopleWrite) {
  EXPECT_TRUE(Found("we", "web-1"));
  EXPECT_TRUE(Found("^web-[0-9]+$", "web-12"));
  EXPECT_FALSE(Found("^web-[0-9]+$", "web-12a"));
  EXPECT_TRUE(Found("^/?web$", "web"));
  EXPECT_TRUE(Found("a|b.c", "xbzc"));
  EXPECT_TRUE(Found("(?:a|b)+c", "abac"));
  EXPECT_TRUE(Found(R"(\d\d)", "x12"));
  EXPECT_FALSE(Found(R"(^\w+$)", "a-b"));
  EXPECT_TRUE(Found(R"(a\.b)", "a.b"));
  EXPECT_FALSE(Found(R"(a\.b)", "axb"));
  EXPECT_TRUE(Found("(?i)WEB", "web"));
  EXPECT_TRUE(Found("a.*?b", "axxb"));
  EXPECT_TRUE(Found(R"([\w.]{2,3}$)", "-a.b"));
  EXPECT_TRUE(Found("", "anything"));
}

TEST(NamePatternTest, WhatIsNoPatternFindsNothing) {
  for (const char* bad :
       {"(", "[", "a\\", "*", "(?=x)", R"(\pL)", R"((a)\1)", "a{1000}", "(a{30}){30}", "[\\D]"}) {
    EXPECT_FALSE(Found(bad, bad)) << bad;
  }
  EXPECT_FALSE(Found(std::string(600, 'a'), std::string(700, 'a')));
}

}  // namespace
}  // namespace gantry::formats
