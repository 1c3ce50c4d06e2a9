// SPDX-License-Identifier: Apache-2.0
#include "formats/dbus_message.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

using namespace std::string_literals;

DbusMessage Call() {
  DbusMessage call;
  call.serial = 7;
  call.path = "/org/freedesktop/systemd1";
  call.interface = "org.freedesktop.systemd1.Manager";
  call.member = "StartTransientUnit";
  call.destination = "org.freedesktop.systemd1";
  call.body = {
      DbusValue::String("a.scope"), DbusValue::String("replace"),
      DbusValue::Array(
          "(sv)",
          {DbusValue::Struct({DbusValue::String("PIDs"),
                              DbusValue::Variant(DbusValue::Array("u", {DbusValue::Uint32(42)}))}),
           DbusValue::Struct(
               {DbusValue::String("MemoryMax"), DbusValue::Variant(DbusValue::Uint64(UINT64_MAX))}),
           DbusValue::Struct(
               {DbusValue::String("Delegate"), DbusValue::Variant(DbusValue::Bool(true))})}),
      DbusValue::Array("(sa(sv))", {})};
  return call;
}

// The bytes that the specification's rules give for a call without a body, made by hand.
TEST(DbusMessage, WritesWhatTheSpecificationSays) {
  DbusMessage hello;
  hello.serial = 1;
  hello.path = "/a";
  hello.member = "Hi";
  std::string expected =
      "l\1\0\1\0\0\0\0\1\0\0\0\x1b\0\0\0"s  // no body, serial 1, 27 bytes of fields
      "\1\1o\0\2\0\0\0/a\0\0\0\0\0\0"s      // 1: object path, padded to 8
      "\3\1s\0\2\0\0\0Hi\0"s                // 3: string
      "\0\0\0\0\0"s;                        // the body begins at a multiple of 8
  EXPECT_EQ(EncodeDbus(hello), expected);
}

TEST(DbusMessage, ReadsWhatItWrote) {
  std::string bytes = EncodeDbus(Call());
  Result<DbusMessage> read = DecodeDbus(bytes);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(*read, Call());
  EXPECT_EQ(*DbusMessageSize(bytes), bytes.size());
}

TEST(DbusMessage, ReadsBigEndian) {
  std::string bytes =
      "B\2\0\1\0\0\0\4\0\0\0\5\0\0\0\x0f"s
      "\5\1u\0\0\0\0\x09"s
      "\x08\1g\0\1u\0"s
      "\0"s
      "\0\0\1\2"s;
  Result<DbusMessage> read = DecodeDbus(bytes);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->type, DbusType::kReturn);
  EXPECT_EQ(read->reply_serial, 9U);
  ASSERT_EQ(read->body.size(), 1U);
  EXPECT_EQ(read->body[0].Number(), 258U);
}

TEST(DbusMessage, RefusesEveryCutAndEveryFalseLength) {
  std::string bytes = EncodeDbus(Call());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeDbus(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
  std::string longer = bytes + "\0\0\0\0"s;
  EXPECT_FALSE(DecodeDbus(longer).ok());
  std::string huge = bytes;
  huge[7] = '\x7f';
  EXPECT_EQ(DbusMessageSize(huge).error().kind(), ErrorKind::kResourceExhausted);
}

TEST(DbusMessage, KnowsCompleteTypes) {
  for (const char* good : {"s", "as", "a(sv)", "(sa(sv))", "a{sv}", "aaay", "v"}) {
    EXPECT_TRUE(IsDbusType(good)) << good;
  }
  for (const char* bad : {"", "ss", "a", "()", "(s", "{sv}", "a{vs}", "a{s}", "z", "a{sv"}) {
    EXPECT_FALSE(IsDbusType(bad)) << bad;
  }
  EXPECT_FALSE(IsDbusType(std::string(40, 'a') + "y"));
}

TEST(DbusText, ReadsValues) {
  auto text = [](std::string_view words) { return *ParseDbusText(words); };
  EXPECT_EQ(text("true"), DbusValue::Bool(true));
  EXPECT_EQ(text("-5"), (DbusValue{"i", int64_t{-5}}));
  EXPECT_EQ(text("uint64 18446744073709551615"), DbusValue::Uint64(UINT64_MAX));
  EXPECT_EQ(text("1.5"), (DbusValue{"d", 1.5}));
  EXPECT_EQ(text("'inactive-or-failed'"), DbusValue::String("inactive-or-failed"));
  EXPECT_EQ(text("\"it's \\\"so\\\"\""), DbusValue::String("it's \"so\""));
  EXPECT_EQ(text("['a', 'b']"),
            DbusValue::Array("s", {DbusValue::String("a"), DbusValue::String("b")}));
  EXPECT_EQ(text("@as []"), DbusValue::Array("s", {}));
  EXPECT_EQ(text("@at [1, 2]"),
            DbusValue::Array("t", {DbusValue::Uint64(1), DbusValue::Uint64(2)}));
  EXPECT_EQ(text("[('/dev/null', 'rw'), ('/dev/zero', 'r')]").signature, "a(ss)");
}

TEST(DbusText, RefusesTheRest) {
  for (const char* bad :
       {"", "x", "'a", "1 2", "[]", "[1, 'a']", "uint32 -1", "byte 256", "@s 5", "@zz 5", "()",
        "{'a': 1}", "b'x'", "4294967296", "'\\n'", "handle 1", "true'", "[1", "nothing"}) {
    EXPECT_FALSE(ParseDbusText(bad).ok()) << bad;
  }
  EXPECT_FALSE(ParseDbusText(std::string(100, '[')).ok());
  std::string wide = "(1";
  for (int i = 0; i < 300; ++i) wide += ",1";
  EXPECT_FALSE(ParseDbusText(wide + ")").ok());
}

}  // namespace
}  // namespace gantry::formats
