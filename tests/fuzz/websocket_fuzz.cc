// SPDX-License-Identifier: Apache-2.0
// fuzz: engine/api/websocket.cc formats/base64.cc wire/http_message.cc
// link: crypto
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "engine/api/websocket.h"

// What comes out does not depend on the pieces in which it went in.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  gantry::engine::api::WebSocketDecoder whole;
  gantry::engine::api::WebSocketDecoder pieces;
  bool whole_ok = whole.Take(text).ok();
  bool pieces_ok = true;
  for (size_t at = 0; at < size && pieces_ok; ++at)
    pieces_ok = pieces.Take(text.substr(at, 1)).ok();
  CHECK(whole_ok == pieces_ok);
  CHECK(whole.data == pieces.data && whole.replies == pieces.replies);
  CHECK(whole.closed() == pieces.closed());
  return 0;
}
