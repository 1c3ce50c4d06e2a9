// SPDX-License-Identifier: Apache-2.0
#include "formats/json.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

TEST(JsonTest, RoundTripsAndKeepsOrderAndIntegers) {
  const char* text = R"({"z":1,"a":[true,null,-5,18446744073709551615,1.5,"x\n\"\u0001é"],"o":{}})";
  Result<Json> json = Json::Parse(text);
  ASSERT_TRUE(json.ok()) << json.error().message();
  EXPECT_EQ(json->Dump(), text);
  EXPECT_EQ((*json)["a"].at(3).AsUint(), UINT64_MAX);
  EXPECT_TRUE((*json)["none"]["deeper"].is_null());
}

TEST(JsonTest, NumbersOfAnyLength) {
  auto number = [](const std::string& text) { return Json::Parse(text)->AsDouble(); };
  EXPECT_EQ(number("1.5e3"), 1500);
  EXPECT_EQ(number("-0.1"), -0.1);
  EXPECT_EQ(number("18446744073709551616"), 18446744073709551616.0);
  EXPECT_EQ(Json::Parse("18446744073709551615")->AsUint(), UINT64_MAX);
  EXPECT_EQ(Json::Parse("-9223372036854775808")->AsInt(), INT64_MIN);
  EXPECT_TRUE(Json::Parse("-0")->is_int64());
  // RapidJSON's own conversion reads outside of a table here.
  EXPECT_EQ(number("0." + std::string(700, '4') + "e-1000"), 0);
  EXPECT_EQ(number("0." + std::string(320, '0') + "1e321"), 1);
  EXPECT_EQ(number("0." + std::string(2000, '0') + "1e2001"), 1);
  EXPECT_FALSE(Json::Parse("1e400").ok());
}

TEST(JsonTest, LoneSurrogatesBecomeReplacements) {
  EXPECT_EQ(Json::Parse(R"({"k\udcd0":"a\udCd0b\ud83d\ude00"})")->Dump(),
            "{\"k\xEF\xBF\xBD\":\"a\xEF\xBF\xBD"
            "b\xF0\x9F\x98\x80\"}");
  EXPECT_EQ(Json::Parse("\"\xED\x9F\xBF\"")->AsString(), "\xED\x9F\xBF");  // U+D7FF
}

TEST(JsonTest, LastOfRepeatedKeysWins) {
  EXPECT_EQ((*Json::Parse(R"({"a":1,"a":2})"))["a"].AsInt(), 2);
}

TEST(JsonTest, RefusesBadInput) {
  for (std::string bad : {std::string(), std::string("{"), std::string("[1,]"), std::string("1 2"),
                          std::string("\"\xff\""), std::string("nul"), std::string(300, '[')}) {
    EXPECT_FALSE(Json::Parse(bad).ok()) << bad;
  }
}

TEST(JsonTest, WritesInvalidUtf8AsReplacement) {
  std::string out;
  AppendJsonString(&out, "a\xff\xe2\x80\xa8z");
  EXPECT_EQ(out, "\"a\\ufffd\\u2028z\"");
}

TEST(JsonTest, Indents) {
  EXPECT_EQ(Json::Parse(R"({"a":[1],"b":{}})")->Dump(2),
            "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
}

TEST(JsonReaderTest, NamesThePathOfTheFirstError) {
  Json json = *Json::Parse(R"({"process":{"cwd":7,"args":[1]},"list":[{"n":-1}]})");
  std::string cwd = "unchanged";
  JsonReader reader(json, "");
  reader.Object("process", [&](JsonReader& process) { process.Field("cwd", &cwd); });
  reader.Objects("list", [&](JsonReader& item) {
    uint32_t n = 0;
    item.Field("n", &n);
  });
  EXPECT_EQ(reader.Finish().error().message(), "process.cwd: expected a string");
  EXPECT_EQ(cwd, "unchanged");

  JsonReader second(json, "config");
  second.Objects("list", [&](JsonReader& item) {
    uint32_t n = 0;
    item.Field("n", &n);
  });
  EXPECT_EQ(second.Finish().error().message(),
            "config.list[0].n: expected an unsigned 32-bit integer");
}

}  // namespace
}  // namespace gantry::formats
