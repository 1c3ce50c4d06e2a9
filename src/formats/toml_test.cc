// SPDX-License-Identifier: Apache-2.0
#include "formats/toml.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

TEST(Toml, ReadsADocument) {
  auto json = ParseToml(R"(version = 3
root = '/var/lib/x'
[grpc]
  address = "a\tb"
  uid = 7
[plugins."io.containerd.x.v1"]
list = ["a", "b"]
[[hosts]]
on = true
ratio = 0.5
day = 2026-11-29
)");
  ASSERT_TRUE(json.ok()) << json.error().message();
  EXPECT_EQ(json->Find("version")->AsInt(), 3);
  EXPECT_EQ((*json)["grpc"]["address"].AsString(), "a\tb");
  EXPECT_EQ((*json)["plugins"]["io.containerd.x.v1"]["list"].at(1).AsString(), "b");
  EXPECT_TRUE((*json)["hosts"].at(0)["on"].AsBool());
  EXPECT_EQ((*json)["hosts"].at(0)["day"].AsString(), "2026-11-29");
}

TEST(Toml, SaysWhereItIsWrong) {
  auto json = ParseToml("a = 1\nb = [1,\n");
  ASSERT_FALSE(json.ok());
  EXPECT_TRUE(json.error().message().starts_with("line 2, column 9")) << json.error().message();
  EXPECT_FALSE(ParseToml("a = 1\na = 2\n").ok());
  for (const char* text : {"a = 1\xcd\xa5", "\xc3\xa9 = 1", "a = \"x\n\xc3\xa9"}) {
    EXPECT_FALSE(ParseToml(text).ok()) << text;
  }
  EXPECT_TRUE(
      ParseToml("\xef\xbb\xbf# \xc3\xa9\na = \"\\\"\xc3\xa9\"\nb = '''\n\xc3\xa9'''\n").ok());
  // The library's own check stops at these.
  for (const char* text : {"[*a]\n", "[[*a]]\n", "[a.*]\n", "= 1\n", "a = *\n"}) {
    EXPECT_FALSE(ParseToml(text).ok()) << text;
  }
}

TEST(Toml, LiteralsComeBack) {
  for (std::string text : {"", "plain", "a\"b\\c", "line\nbreak\x01", "ü"}) {
    auto json = ParseToml(TomlKey("k.x") + " = " + TomlString(text));
    ASSERT_TRUE(json.ok()) << json.error().message();
    EXPECT_EQ((*json)["k.x"].AsString(), text);
  }
  EXPECT_EQ(TomlKey("a-b_1"), "a-b_1");
}

}  // namespace
}  // namespace gantry::formats
