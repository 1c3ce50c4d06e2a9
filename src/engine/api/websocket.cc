// SPDX-License-Identifier: Apache-2.0
#include "engine/api/websocket.h"

#include <openssl/evp.h>

#include <algorithm>

#include "formats/base64.h"

namespace gantry::engine::api {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr size_t kMaxControl = 125;
constexpr unsigned char kFinal = 0x80;
constexpr unsigned char kMasked = 0x80;
constexpr unsigned char kReserved = 0x70;

bool IsControl(WebSocketOpcode opcode) { return static_cast<uint8_t>(opcode) >= 8; }

}  // namespace

Result<std::string> AcceptWebSocket(const wire::HttpRequest& request) {
  std::string_view key = request.headers.Get("Sec-WebSocket-Key");
  if (!request.WantsUpgrade("websocket")) return InvalidArgument("not websocket protocol");
  if (request.headers.Get("Sec-WebSocket-Version") != "13") {
    return InvalidArgument("missing or bad WebSocket Version");
  }
  Result<std::string> nonce = formats::DecodeBase64(key);
  if (!nonce.ok() || nonce->size() != 16) return InvalidArgument("mismatch challenge/response");
  std::string text = std::string(key).append(kGuid);
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), hash, &size, EVP_sha1(), nullptr) == 1);
  return formats::EncodeBase64({reinterpret_cast<const char*>(hash), size});
}

std::string EncodeWebSocketFrame(WebSocketOpcode opcode, std::string_view payload) {
  std::string frame(1, static_cast<char>(kFinal | static_cast<uint8_t>(opcode)));
  size_t size = payload.size();
  size_t length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
  frame.push_back(static_cast<char>(length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127));
  for (size_t i = length_bytes; i-- > 0;) frame.push_back(static_cast<char>(size >> (8 * i)));
  return frame.append(payload);
}

// Fails on a bad head, and when there are not enough bytes leaves in_payload_ false.
Result<> WebSocketDecoder::ReadHead() {
  auto byte = [&](size_t at) { return static_cast<unsigned char>(head_[at]); };
  if (head_.size() < 2) return {};
  if ((byte(0) & kReserved) != 0) return InvalidArgument("reserved bit of a WebSocket frame");
  if ((byte(1) & kMasked) == 0) return InvalidArgument("WebSocket frame of a client without mask");
  opcode_ = static_cast<WebSocketOpcode>(byte(0) & 0x0f);
  bool final = (byte(0) & kFinal) != 0;
  size_t length_bytes = (byte(1) & 0x7f) == 126 ? 2 : (byte(1) & 0x7f) == 127 ? 8 : 0;
  if (head_.size() < 2 + length_bytes + sizeof mask_) return {};
  left_ = length_bytes == 0 ? byte(1) & 0x7f : 0;
  for (size_t i = 0; i < length_bytes; ++i) left_ = left_ << 8 | byte(2 + i);
  for (size_t i = 0; i < sizeof mask_; ++i) mask_[i] = byte(2 + length_bytes + i);
  switch (opcode_) {
    case WebSocketOpcode::kContinuation:
      if (!fragmented_) return InvalidArgument("WebSocket continuation of nothing");
      fragmented_ = !final;
      break;
    case WebSocketOpcode::kText:
    case WebSocketOpcode::kBinary:
      if (fragmented_) return InvalidArgument("WebSocket message inside of another");
      fragmented_ = !final;
      break;
    case WebSocketOpcode::kClose:
    case WebSocketOpcode::kPing:
    case WebSocketOpcode::kPong:
      if (!final || left_ > kMaxControl) return InvalidArgument("bad WebSocket control frame");
      break;
    default:
      return InvalidArgument("unknown WebSocket opcode {}", static_cast<int>(opcode_));
  }
  head_.clear();
  mask_at_ = 0;
  in_payload_ = true;
  return {};
}

Result<> WebSocketDecoder::Take(std::string_view bytes) {
  while (!closed_) {
    if (!in_payload_) {
      if (bytes.empty()) return {};
      head_.push_back(bytes.front());
      bytes.remove_prefix(1);
      TRY(ReadHead());
      if (!in_payload_) continue;
    }
    size_t part = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
    std::string& target = IsControl(opcode_) ? control_ : data;
    for (char byte : bytes.substr(0, part)) {
      target.push_back(static_cast<char>(static_cast<unsigned char>(byte) ^ mask_[mask_at_++ % 4]));
    }
    bytes.remove_prefix(part);
    left_ -= part;
    if (left_ > 0) return {};
    FinishFrame();
  }
  return {};
}

void WebSocketDecoder::FinishFrame() {
  in_payload_ = false;
  if (opcode_ == WebSocketOpcode::kPing) {
    replies += EncodeWebSocketFrame(WebSocketOpcode::kPong, control_);
  } else if (opcode_ == WebSocketOpcode::kClose) {
    // The status comes back, without the reason.
    replies +=
        EncodeWebSocketFrame(WebSocketOpcode::kClose, std::string_view(control_).substr(0, 2));
    closed_ = true;
  }
  control_.clear();
}

}  // namespace gantry::engine::api
