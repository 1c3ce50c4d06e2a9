// SPDX-License-Identifier: Apache-2.0
#include "buildkit/message_guard.h"

#include <gtest/gtest.h>

namespace gantry::buildkit {
namespace {

constexpr std::string_view kGreeting = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::string BigEndian(uint32_t number, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(number >> shift));
  }
  return out;
}

std::string Frame(char type, char flags, uint32_t stream, const std::string& payload) {
  return BigEndian(static_cast<uint32_t>(payload.size()), 3) + type + flags + BigEndian(stream, 4) +
         payload;
}

std::string Message(uint32_t size) { return std::string(1, '\0') + BigEndian(size, 4); }

Result<> TakeAll(const std::string& text, size_t piece = 1) {
  MessageGuard guard({.message = 100, .all = 150});
  for (size_t at = 0; at < text.size(); at += piece) {
    Result<> taken = guard.Take(std::string_view(text).substr(at, piece));
    if (!taken.ok()) return taken;
  }
  return {};
}

TEST(MessageGuardTest, Sizes) {
  std::string begin = std::string(kGreeting) + Frame(4, 0, 0, "") + Frame(1, 4, 1, "headers");
  std::string half(50, 'x');
  std::string first = Frame(0, 0, 1, Message(100) + half);
  for (size_t piece : {size_t{1}, size_t{7}, size_t{1000}}) {
    EXPECT_TRUE(TakeAll(begin + first + Frame(0, 1, 1, half), piece).ok());
    // Two after the other in one frame; one in padding counts for nothing.
    EXPECT_TRUE(TakeAll(begin + Frame(0, 0, 1, Message(3) + "abc" + Message(100)), piece).ok());
    EXPECT_TRUE(TakeAll(begin + Frame(0, 8, 1, "\x05" + Message(0) + Message(999)), piece).ok());
    EXPECT_FALSE(
        TakeAll(begin + Frame(0, 8, 1, "\x04" + Message(0) + Message(999) + "pads"), piece).ok());
    EXPECT_EQ(TakeAll(begin + Frame(0, 0, 1, Message(101)), piece).error().kind(),
              ErrorKind::kResourceExhausted);
    // Of several streams; one that has ended counts no more.
    std::string second = Frame(0, 0, 3, Message(100));
    EXPECT_TRUE(TakeAll(begin + first + second, piece).ok());
    EXPECT_FALSE(TakeAll(begin + first + second + Frame(0, 0, 5, Message(1)), piece).ok());
    EXPECT_TRUE(
        TakeAll(begin + first + Frame(3, 0, 1, "code") + second + Frame(0, 0, 5, Message(50)),
                piece)
            .ok());
    EXPECT_TRUE(
        TakeAll(begin + first + Frame(0, 1, 1, "") + second + Frame(0, 0, 5, Message(50)), piece)
            .ok());
  }
}

TEST(MessageGuardTest, ManyStreams) {
  std::string text(kGreeting);
  for (uint32_t stream = 1; stream < 2000; stream += 2) text += Frame(0, 0, stream, "x");
  EXPECT_TRUE(TakeAll(text).ok());
  text += Frame(0, 0, 2001, "x");
  EXPECT_EQ(TakeAll(text).error().kind(), ErrorKind::kResourceExhausted);
}

TEST(MessageGuardTest, OtherBytes) {
  EXPECT_EQ(TakeAll("GET / HTTP/1.1\r\n").error().kind(), ErrorKind::kInvalidArgument);
  EXPECT_TRUE(TakeAll("PRI * HTTP").ok());
  EXPECT_TRUE(TakeAll(std::string(kGreeting) + std::string(1000, '\0')).ok());
}

}  // namespace
}  // namespace gantry::buildkit
