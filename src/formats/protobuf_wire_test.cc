// SPDX-License-Identifier: Apache-2.0
#include "formats/protobuf_wire.h"

#include <gtest/gtest.h>

#include <limits>

namespace gantry::formats {
namespace {

using namespace std::string_literals;

std::string Varint(uint64_t value) {
  std::string out;
  ProtoWriter(&out).RawVarint(value);
  return out;
}

TEST(ProtobufWire, WritesVarintsAsTheFormatSays) {
  EXPECT_EQ(Varint(0), "\x00"s);
  EXPECT_EQ(Varint(150), "\x96\x01");
  EXPECT_EQ(Varint(std::numeric_limits<uint64_t>::max()),
            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

TEST(ProtobufWire, ReadsWhatItWrote) {
  std::string out;
  ProtoWriter writer(&out);
  writer.Tag(1, ProtoWire::kVarint);
  writer.RawZigzag(-3);
  writer.Tag(2, ProtoWire::kFixed32);
  writer.RawFixed32(0xdeadbeef);
  writer.Tag(3, ProtoWire::kFixed64);
  writer.RawDouble(0.5);
  writer.Nested(4, [](ProtoWriter& inner) { inner.Bytes(1, std::string(300, 'x')); });
  ProtoReader reader(out);
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.Zigzag(), -3);
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.Fixed32(), 0xdeadbeef);
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.Double(), 0.5);
  ASSERT_TRUE(reader.Next());
  EXPECT_EQ(reader.field(), 4u);
  size_t size = 0;
  reader.Nested([&](ProtoReader& inner) {
    while (inner.Next()) size = inner.Bytes().size();
  });
  EXPECT_EQ(size, 300u);
  EXPECT_FALSE(reader.Next());
  EXPECT_TRUE(reader.Finish().ok());
}

TEST(ProtobufWire, SkipsUnknownFieldsOfEveryWireType) {
  // Fields 9 (varint), 10 (fixed64), 11 (bytes), 12 (fixed32), then type_url = "t".
  std::string bytes =
      "\x48\x05\x51"s + std::string(8, 'a') + "\x5a\x02zz\x65"s + "bbbb" + "\x0a\x01t";
  Result<ProtoAny> any = ProtoDecode<ProtoAny>(bytes);
  ASSERT_TRUE(any.ok()) << any.error().message();
  EXPECT_EQ(any->type_url, "t");
}

TEST(ProtobufWire, RefusesBrokenMessages) {
  for (const std::string& bytes :
       {"\x0a\x05"
        "ab"s,
        "\x0a"s, "\x08\x80"s, "\x0b"s, "\x00\x01"s,
        "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s, "\x0a\xff\xff\xff\xff\x0f"s}) {
    EXPECT_FALSE(ProtoDecode<ProtoAny>(bytes).ok());
  }
}

TEST(ProtobufWire, TimesKeepTheirNanosecondsBeforeAndAfter1970) {
  for (int64_t nanos : {int64_t{0}, int64_t{1'700'000'000'123'456'789}, int64_t{-1}}) {
    ProtoTimestamp time = ProtoTimestamp::From(FromUnixNanos(nanos));
    EXPECT_GE(time.nanos, 0);
    EXPECT_EQ(UnixNanos(time.ToWallTime()), nanos);
    EXPECT_EQ(*ProtoDecode<ProtoTimestamp>(ProtoEncode(time)), time);
  }
}

TEST(ProtobufWire, NamesTheTypeOfAnAny) {
  EXPECT_EQ((ProtoAny{"types.containerd.io/a/b.C", ""}).TypeName(), "b.C");
  EXPECT_EQ((ProtoAny{"a.B", ""}).TypeName(), "a.B");
}

}  // namespace
}  // namespace gantry::formats
