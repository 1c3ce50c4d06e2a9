// SPDX-License-Identifier: Apache-2.0
#include "overlay/tunnel_keys.h"

#include <gtest/gtest.h>

#include <set>

namespace gantry::overlay {
namespace {

bool Nothing(uint32_t) { return false; }

TEST(TunnelKeys, ComeBackAsTheyWere) {
  DatedKeys dated{NewKeys(Nothing), FromUnixNanos(1'700'000'000'123'456'789)};
  for (int turn = 0; turn < 2; ++turn) {
    auto read = DecodeKeys(EncodeKeys(dated));
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ(read->keys, dated.keys);
    EXPECT_EQ(read->since, dated.since);
    dated.keys = NextKeys(dated.keys, Nothing);
  }
}

// What is sent with was told of before, and what was sent with is known a while longer.
TEST(TunnelKeys, GoOnOneAfterTheOther) {
  networks::TunnelKeys keys = NewKeys(Nothing);
  networks::TunnelKeys next = NextKeys(keys, Nothing);
  EXPECT_FALSE(keys.previous.has_value());
  EXPECT_EQ(next.previous, keys.current);
  EXPECT_EQ(next.current, keys.next);
  std::set<std::string> secrets;
  for (const auto& key : next.All()) secrets.insert(key.secret);
  EXPECT_EQ(secrets.size(), 3U);
}

TEST(TunnelKeys, HaveNumbersThatNobodyHas) {
  int asked = 0;
  networks::TunnelKeys keys = NewKeys([&](uint32_t) { return ++asked <= 5; });
  EXPECT_GE(asked, 7);
  EXPECT_NE(keys.current.spi, keys.next.spi);
}

TEST(TunnelKeys, SayWhatIsWrong) {
  std::string whole = EncodeKeys({NewKeys(Nothing), FromUnixNanos(0)});
  auto wrong = [&](const std::string& part, const std::string& instead) {
    std::string text = whole;
    text.replace(text.find(part), part.size(), instead);
    auto read = DecodeKeys(text);
    return read.ok() ? "" : read.error().message();
  };
  EXPECT_FALSE(DecodeKeys("").ok());
  EXPECT_NE(wrong("\"current\"", "\"other\"").find("keys.current"), std::string::npos);
  EXPECT_NE(wrong("\"next\"", "\"other\"").find("keys.next"), std::string::npos);
  EXPECT_NE(wrong("\"secret\":\"", "\"secret\":\"x").find("secret"), std::string::npos);
  EXPECT_NE(wrong("1970", "year").find("keys.since"), std::string::npos);
}

}  // namespace
}  // namespace gantry::overlay
