// SPDX-License-Identifier: Apache-2.0
#include "wire/url.h"

#include <gtest/gtest.h>

namespace gantry::wire {
namespace {

TEST(Url, DecodesAndEncodes) {
  EXPECT_EQ(*PercentDecode("a%2Fb+c%20d"), "a/b+c d");
  EXPECT_EQ(PercentEncode("a b/c~é"), "a%20b%2Fc~%C3%A9");
  EXPECT_EQ(PercentEncodePath("reg:5000/a b@x"), "reg:5000/a%20b@x");
  for (const char* bad : {"%", "%1", "%zz", "a%00"}) EXPECT_FALSE(PercentDecode(bad).ok()) << bad;
}

TEST(Url, Query) {
  Result<Target> target = ParseTarget("/v1.43/a%20b?x=1&y=a+b%3D&x=2&flag&&t=False#frag");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->path, "/v1.43/a b");
  const Query& query = target->query;
  EXPECT_EQ(query.Get("x"), "1");
  EXPECT_EQ(query.GetAll("x"), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(query.Get("y"), "a b=");
  EXPECT_TRUE(query.Has("flag"));
  EXPECT_FALSE(query.GetBool("flag"));
  EXPECT_FALSE(query.GetBool("t"));
  EXPECT_TRUE(query.GetBool("x"));
  EXPECT_TRUE(query.GetBool("missing", true));
  EXPECT_EQ(query.Find("missing"), nullptr);
  EXPECT_FALSE(ParseTarget("/?a=%x").ok());
  Query built;
  built.Add("filters", "{\"a b\":1}").Add("n", "");
  EXPECT_EQ(built.Format(), "filters=%7B%22a%20b%22%3A1%7D&n=");
}

}  // namespace
}  // namespace gantry::wire
