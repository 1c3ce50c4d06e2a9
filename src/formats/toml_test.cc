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

TEST(Toml, TablesInTheirOrder) {
  auto json = ParseToml(R"(
z.y.x = 1
z.a = {k = 1, j.i = [
  [], # a comment
  [1, "2",],
]}
[m.n]
[b]
[m]
o = 1
[[l]]
n = 1
[l.in]
k = 1
[[l]]
[[l.deep]]
[m.n.p]
)");
  ASSERT_TRUE(json.ok()) << json.error().message();
  EXPECT_EQ(json->Dump(), R"({"z":{"y":{"x":1},"a":{"k":1,"j":{"i":[[],[1,"2"]]}}},)"
                          R"("m":{"n":{"p":{}},"o":1},"b":{},)"
                          R"("l":[{"n":1,"in":{"k":1}},{"deep":[{}]}]})");
}

TEST(Toml, Strings) {
  for (const auto& [text, value] : std::initializer_list<std::pair<std::string, std::string>>{
           {R"("\b\t\n\f\r\"\\\u00e9\U0001F600")", "\b\t\n\f\r\"\\\xc3\xa9\xf0\x9f\x98\x80"},
           {R"('a\nb')", "a\\nb"},
           {"\"\"\"\na\nb\"\"\"", "a\nb"},
           {"\"\"\"a \\\n   \t\n  b\"\"\"", "a b"},
           {"\"\"\"a\"\"b\"\"\"\"\"", "a\"\"b\"\""},
           {"'''\r\n'a''\r\n'''", "'a''\n"},
           {R"("""""")", ""},
           {"''", ""}}) {
    auto json = ParseToml("k = " + text);
    ASSERT_TRUE(json.ok()) << text << ": " << json.error().message();
    EXPECT_EQ((*json)["k"].AsString(), value) << text;
  }
}

TEST(Toml, SaysWhereItIsWrong) {
  auto message = [](std::string_view text) {
    auto json = ParseToml(text);
    return json.ok() ? std::string("accepted") : json.error().message();
  };
  EXPECT_EQ(message("a = 1\nb = [1,\n"), "line 2, column 5: the array does not end");
  EXPECT_EQ(message("a = 1\na = 2\n"), "line 2, column 1: 'a' is there already");
  EXPECT_EQ(message("\xc3\xa9 = 1"), "line 1, column 1: expected a key");
  EXPECT_EQ(message("a = '\xc3\xa9' x"), "line 1, column 9: expected the end of the line");
  EXPECT_EQ(message("\na = \"x\n\""), "line 2, column 5: the string does not end in its line");
  EXPECT_EQ(message("a = yes"),
            "line 1, column 5: 'yes' is no number, boolean, date or time (and "
            "no string without quotes)");
  EXPECT_EQ(message("# \xff"), "line 1, column 3: this is not UTF-8");
  EXPECT_EQ(message("a = '\x01'"), "line 1, column 6: a control character");
  EXPECT_EQ(message("a = 1\rb = 2"), "line 1, column 6: a control character");
  EXPECT_EQ(message("a = \"\\x\""), "line 1, column 6: there is no such escape");
  EXPECT_EQ(message("a = \"\\ud800\""), "line 1, column 8: this is no character");
  EXPECT_TRUE(
      ParseToml("\xef\xbb\xbf# \xc3\xa9\na = \"\\\"\xc3\xa9\"\nb = '''\n\xc3\xa9'''\n").ok());
}

TEST(Toml, WhatIsThereStays) {
  for (const char* text :
       {"[a]\n[a]\n", "a = 1\n[a]\n", "a = 1\n[a.b]\n", "a.b = 1\n[a]\n", "a.b = 1\na = 2\n",
        "a = 1\na.b = 2\n", "a = {b = 1}\n[a.c]\n", "a = {b = 1}\na.c = 2\n",
        "a = {b = 1, b = 2}\n", "a = []\n[[a]]\n", "a = [{}]\n[a.b]\n", "[[a]]\n[a]\n",
        "[a]\n[[a]]\n", "[a.b]\n[[a]]\n", "[[a.b]]\n[a]\nb.y = 2\n",
        "[a.b.c]\nz = 9\n[a]\nb.c.t = 1\n", "[fruit]\napple.color = 1\n[fruit.apple]\n"}) {
    EXPECT_FALSE(ParseToml(text).ok()) << text;
  }
  EXPECT_TRUE(ParseToml("[fruit]\napple.color = 1\n[fruit.apple.taste]\nsweet = true\n").ok());
}

TEST(Toml, Malformed) {
  for (const char* text : {"[*a]\n",
                           "[[*a]]\n",
                           "[a.*]\n",
                           "= 1\n",
                           "a = *\n",
                           "[]\n",
                           "[a\n",
                           "[[a]\n",
                           "[a]]\n",
                           "[a.]\n",
                           "[ [a]]\n",
                           "a\n",
                           "a =\n",
                           "a = 1 b = 2",
                           "a = {b = 1,}",
                           "a = {b = 1\n}",
                           "a = [1 2]",
                           "a = [,]",
                           "a = {,}",
                           "\"\"\"a\"\"\" = 1",
                           "a..b = 1",
                           "a = 'b''",
                           "[a] b = 1",
                           "a = \"\"\"\"\"\"\"\"\"",
                           "a = 1979-05-27 07\n",
                           "a = \"\"\"\\ x\"\"\""}) {
    EXPECT_FALSE(ParseToml(text).ok()) << text;
  }
}

TEST(Toml, NestingEnds) {
  auto nested = [](size_t levels, const char* open, const char* shut) {
    std::string text = "a = ";
    for (size_t i = 0; i < levels; ++i) text += open;
    for (size_t i = 0; i < levels; ++i) text += shut;
    return text;
  };
  EXPECT_TRUE(ParseToml(nested(255, "[", "]")).ok());
  EXPECT_FALSE(ParseToml(nested(100'000, "[", "]")).ok());
  EXPECT_FALSE(ParseToml(nested(100'000, "{a=", "}")).ok());
  std::string dots = "a";
  for (int i = 0; i < 300; ++i) dots += ".a";
  EXPECT_FALSE(ParseToml(dots + " = 1").ok());
  EXPECT_FALSE(ParseToml("[" + dots + "]").ok());
}

TEST(Toml, PlacesOfKeys) {
  TomlPlaces places;
  ASSERT_TRUE(
      ParseToml("# first\na.b = 1\n\n[c]\nd = [\n1]\n[c.'e.f']\ng = {h = 1}\n", &places).ok());
  EXPECT_EQ(places.LineOf({"a", "b"}), 2);
  EXPECT_EQ(places.LineOf({"c"}), 4);
  EXPECT_EQ(places.LineOf({"c", "d"}), 5);
  EXPECT_EQ(places.LineOf({"c", "e.f", "g"}), 8);
  EXPECT_EQ(places.LineOf({"c", "e.f", "g", "h"}), 8) << "the last that is listed";
}

TEST(Toml, LiteralsComeBack) {
  for (std::string text : {"", "plain", "a\"b\\c", "line\nbreak\x01\x7f", "ü"}) {
    auto json = ParseToml(TomlKey("k.x") + " = " + TomlString(text));
    ASSERT_TRUE(json.ok()) << json.error().message();
    EXPECT_EQ((*json)["k.x"].AsString(), text);
  }
  EXPECT_EQ(TomlKey("a-b_1"), "a-b_1");
}

}  // namespace
}  // namespace gantry::formats
