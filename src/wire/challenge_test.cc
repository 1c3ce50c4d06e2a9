// SPDX-License-Identifier: Apache-2.0
#include "wire/challenge.h"

#include <gtest/gtest.h>

namespace gantry::wire {
namespace {

TEST(Challenge, Parses) {
  auto bearer = ParseChallenge(
      R"(Bearer realm="https://a/token",service="x, y",scope="repository:a/b:pull,push")");
  ASSERT_TRUE(bearer.has_value());
  EXPECT_EQ(bearer->scheme, "bearer");
  EXPECT_EQ(bearer->parameters["service"], "x, y");
  EXPECT_EQ(bearer->parameters["scope"], "repository:a/b:pull,push");
  auto basic = ParseChallenge("Basic realm = quoted\\ , Other=\"a\\\"b\"");
  EXPECT_FALSE(basic.has_value());
  EXPECT_EQ(ParseChallenge("BASIC Realm=token")->parameters["realm"], "token");
  EXPECT_EQ(ParseChallenge("Basic realm=\"a\\\"b\"")->parameters["realm"], "a\"b");
  for (const char* bad : {"", "=", "Bearer realm", "Bearer realm=\"open", "Bearer =x"}) {
    EXPECT_FALSE(ParseChallenge(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace gantry::wire
