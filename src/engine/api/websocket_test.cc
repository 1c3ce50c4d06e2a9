// SPDX-License-Identifier: Apache-2.0
#include "engine/api/websocket.h"

#include <gtest/gtest.h>

namespace gantry::engine::api {
namespace {

std::string Masked(int first, std::string_view payload) {
  std::string frame(1, static_cast<char>(first));
  if (payload.size() < 126) {
    frame.push_back(static_cast<char>(0x80 | payload.size()));
  } else {
    frame.push_back(static_cast<char>(0xfe));
    frame.push_back(static_cast<char>(payload.size() >> 8));
    frame.push_back(static_cast<char>(payload.size()));
  }
  frame += "abcd";
  for (size_t i = 0; i < payload.size(); ++i) {
    frame.push_back(static_cast<char>(payload[i] ^ "abcd"[i % 4]));
  }
  return frame;
}

TEST(WebSocketTest, Handshake) {
  wire::HttpRequest request;
  EXPECT_EQ(AcceptWebSocket(request).error().message(), "not websocket protocol");
  request.headers.Set("Connection", "keep-alive, Upgrade");
  request.headers.Set("Upgrade", "websocket");
  request.headers.Set("Sec-WebSocket-Version", "13");
  EXPECT_FALSE(AcceptWebSocket(request).ok());
  // The example of RFC 6455 section 1.3.
  request.headers.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(*AcceptWebSocket(request), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  request.headers.Set("Sec-WebSocket-Version", "8");
  EXPECT_FALSE(AcceptWebSocket(request).ok());
}

TEST(WebSocketTest, EncodesEachLength) {
  EXPECT_EQ(EncodeWebSocketFrame(WebSocketOpcode::kBinary, "abc"),
            "\x82\x03"
            "abc");
  std::string middle = EncodeWebSocketFrame(WebSocketOpcode::kText, std::string(126, 'x'));
  EXPECT_EQ(middle.substr(0, 4), std::string("\x81\x7e\0\x7e", 4));
  std::string large = EncodeWebSocketFrame(WebSocketOpcode::kBinary, std::string(65536, 'x'));
  EXPECT_EQ(large.substr(0, 10), std::string("\x82\x7f\0\0\0\0\0\1\0\0", 10));
  EXPECT_EQ(large.size(), 65546u);
}

TEST(WebSocketTest, DecodesInAnyPieces) {
  std::string long_text(300, 'y');
  std::string stream = Masked(0x01, "he") + Masked(0x89, "ping") + Masked(0x80, "llo") +
                       Masked(0x82, "") + Masked(0x82, long_text) + Masked(0x88, "\x03\xe8why") +
                       "rest";
  for (size_t step : {size_t{1}, size_t{3}, stream.size()}) {
    WebSocketDecoder decoder;
    for (size_t at = 0; at < stream.size(); at += step) {
      ASSERT_TRUE(decoder.Take(std::string_view(stream).substr(at, step)).ok());
    }
    EXPECT_EQ(decoder.data, "hello" + long_text);
    EXPECT_EQ(decoder.replies, "\x8a\x04ping\x88\x02\x03\xe8");
    EXPECT_TRUE(decoder.closed());
  }
}

TEST(WebSocketTest, RefusesWhatTheProtocolForbids) {
  for (const std::string& bad : {std::string("\x82\x03"
                                             "abc"),
                                 Masked(0xc2, "x"), Masked(0x80, "x"), Masked(0x09, "x"),
                                 Masked(0x89, std::string(126, 'x')), Masked(0x83, "x"),
                                 Masked(0x02, "x") + Masked(0x82, "y")}) {
    WebSocketDecoder decoder;
    EXPECT_FALSE(decoder.Take(bad).ok());
  }
}

}  // namespace
}  // namespace gantry::engine::api
