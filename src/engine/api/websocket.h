// SPDX-License-Identifier: Apache-2.0
//
// The server's side of the WebSocket protocol (RFC 6455), as far as attach/ws needs it: the
// handshake, frames in both directions, and a bridge between a client and a plain socket. What the
// client sends in text or binary messages is one stream of bytes; what goes to it is binary frames.
// Extensions are not offered. The codec is pure; the bridge runs on an event loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "wire/http_message.h"

namespace gantry::engine::api {

enum class WebSocketOpcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

// The value of Sec-WebSocket-Accept. kInvalidArgument: "not websocket protocol" and the like.
Result<std::string> AcceptWebSocket(const wire::HttpRequest& request);

// One unmasked frame with all of a message, or of a control frame's at most 125 bytes.
std::string EncodeWebSocketFrame(WebSocketOpcode opcode, std::string_view payload);

class WebSocketDecoder {
 public:
  // Takes bytes in any pieces. Data is passed on as it comes, not only when its frame is whole.
  // kInvalidArgument: the client breaks the protocol; the connection is of no use any more.
  Result<> Take(std::string_view bytes);

  // What has come; the caller empties it.
  std::string data;
  std::string replies;  // frames that answer pings and the client's close
  bool closed() const { return closed_; }

 private:
  Result<> ReadHead();
  void FinishFrame();

  std::string head_;
  bool in_payload_ = false;
  WebSocketOpcode opcode_ = WebSocketOpcode::kBinary;
  bool fragmented_ = false;  // inside a message of several frames
  uint64_t left_ = 0;        // bytes of the present payload
  unsigned char mask_[4] = {};
  size_t mask_at_ = 0;
  std::string control_;  // the payload of a control frame
  bool closed_ = false;
};

// Passes messages of `client`, whose handshake is done, to `stream` and back until one of them
// ends. `received`: what came with the handshake. Both are non-blocking. Owns itself.
void BridgeWebSocket(EventLoop& loop, UniqueFd client, std::string received, UniqueFd stream);

}  // namespace gantry::engine::api
