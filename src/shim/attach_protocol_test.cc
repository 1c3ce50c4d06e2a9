// SPDX-License-Identifier: Apache-2.0
#include "shim/attach_protocol.h"

#include <gtest/gtest.h>

#include "shim/replay_ring.h"

namespace gantry::shim {
namespace {

using namespace std::string_literals;

TEST(AttachProtocol, ReadsTheRequest) {
  auto request = ParseAttachRequest("GIO1\x03\0\0\0\x05\x01\0\0\0\0\0\0"s);
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->wants_stdin && request->wants_stdout);
  EXPECT_FALSE(request->wants_stderr);
  EXPECT_EQ(request->offset, 261u);
  EXPECT_FALSE(ParseAttachRequest("GIO2\x03\0\0\0\0\0\0\0\0\0\0\0"s).ok());
  EXPECT_FALSE(ParseAttachRequest("GIO1\x08\0\0\0\0\0\0\0\0\0\0\0"s).ok());
  EXPECT_FALSE(ParseAttachRequest("GIO1\x03\x01\0\0\0\0\0\0\0\0\0\0"s).ok());
}

TEST(AttachProtocol, CutsStdinFromFramesInAnyPieces) {
  std::string bytes = "\0\0\0\0\0\0\0\x05hello\0\0\0\0\0\0\0\x01!\0\0\0\0\0\0\0\0"s;
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    FrameParser parser;
    std::string got;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      std::string_view input = std::string_view(bytes).substr(at, piece);
      std::string_view out;
      while (parser.Next(&input, &out)) got += out;
    }
    EXPECT_EQ(got, "hello!");
    EXPECT_TRUE(parser.ended());
    EXPECT_FALSE(parser.broken());
  }
}

TEST(AttachProtocol, AFrameOfAnotherTypeBreaks) {
  FrameParser parser;
  std::string_view input("\x01\0\0\0\0\0\0\x01x", 9);
  std::string_view out;
  EXPECT_FALSE(parser.Next(&input, &out));
  EXPECT_TRUE(parser.broken());
}

std::string Replayed(const ReplayRing& ring, uint64_t offset) {
  std::string out;
  ring.Replay(offset, [&](StreamId, std::string_view bytes) { out += bytes; });
  return out;
}

TEST(ReplayRing, KeepsTheLast64KiB) {
  ReplayRing ring;
  std::string all;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = std::to_string(i) + std::string(static_cast<size_t>(i % 90), '.');
    ring.Append(i % 3 == 0 ? StreamId::kStderr : StreamId::kStdout, bytes);
    all += bytes;
  }
  EXPECT_EQ(ring.end(), all.size());
  EXPECT_TRUE(ring.Reaches(all.size()));
  EXPECT_FALSE(ring.Reaches(all.size() + 1));
  EXPECT_TRUE(ring.Reaches(all.size() - ReplayRing::kSize));
  EXPECT_FALSE(ring.Reaches(0));
  for (size_t back : {size_t{1}, size_t{1000}, ReplayRing::kSize}) {
    EXPECT_EQ(Replayed(ring, all.size() - back), all.substr(all.size() - back));
  }
}

TEST(ReplayRing, OneLargeWriteReplacesAll) {
  ReplayRing ring;
  ring.Append(StreamId::kStdout, "old");
  std::string large(200000, 'x');
  ring.Append(StreamId::kStdout, large);
  EXPECT_EQ(ring.end(), 200003u);
  EXPECT_EQ(Replayed(ring, ring.end() - ReplayRing::kSize), large.substr(0, ReplayRing::kSize));
}

}  // namespace
}  // namespace gantry::shim
