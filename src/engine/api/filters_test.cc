// SPDX-License-Identifier: Apache-2.0
#include "engine/api/filters.h"

#include <gtest/gtest.h>

namespace gantry::engine::api {
namespace {

TEST(Filters, BothEncodings) {
  for (const char* text : {R"({"label":{"a=b":true,"c":true}})", R"({"label":["a=b","c"]})"}) {
    auto filters = Filters::Parse(text);
    ASSERT_TRUE(filters.ok()) << text;
    EXPECT_TRUE(filters->MatchLabels("label", {{"a", "b"}, {"c", ""}}));
    EXPECT_FALSE(filters->MatchLabels("label", {{"a", "x"}, {"c", ""}}));
    EXPECT_FALSE(filters->MatchLabels("label", {{"a", "b"}}));
  }
}

TEST(Filters, NothingMatchesEverything) {
  auto filters = Filters::Parse("");
  ASSERT_TRUE(filters.ok());
  EXPECT_TRUE(filters->empty());
  EXPECT_TRUE(filters->MatchExact("status", "running"));
  EXPECT_TRUE(filters->MatchName("x"));
}

TEST(Filters, ValuesThatAreFalseDoNotCount) {
  EXPECT_FALSE(Filters::Parse(R"({"id":{"a":false}})")->Has("id"));
}

TEST(Filters, NamesByPattern) {
  auto match = [](const char* pattern, const char* name) {
    return Filters::Parse(fmt::format(R"({{"name":["{}"]}})", pattern))->MatchName(name);
  };
  EXPECT_TRUE(match("web", "my-web-1"));
  EXPECT_TRUE(match("^my", "my-web-1"));
  EXPECT_FALSE(match("^web", "my-web-1"));
  EXPECT_TRUE(match("^/my-web-1$", "/my-web-1"));
  EXPECT_TRUE(match("web-[0-9]+$", "my-web-12"));
  EXPECT_TRUE(match("a(b", "a(b"));  // no pattern, but the name itself
  EXPECT_FALSE(match("a(b", "xa(b"));
  EXPECT_FALSE(match("^my$", "my-web-1"));
}

TEST(Filters, BadOnes) {
  EXPECT_FALSE(Filters::Parse("nonsense").ok());
  EXPECT_FALSE(Filters::Parse("[]").ok());
  EXPECT_FALSE(Filters::Parse(R"({"a":1})").ok());
  EXPECT_EQ(Filters::Parse(R"({"x":["1"]})")->CheckKeys({"a"}).error().message(),
            "invalid filter 'x'");
}

}  // namespace
}  // namespace gantry::engine::api
