// SPDX-License-Identifier: Apache-2.0
#include "buildkit/message_guard.h"

#include <algorithm>
#include <utility>

namespace gantry::buildkit {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kFrameHead = 9;
constexpr size_t kMessagePrefix = 5;  // compressed or not, then the size
// Nobody may send larger frames unless the server says so.
constexpr uint32_t kMostFrameBytes = 1 << 24;
// With a part of a message: a server lets fewer be open.
constexpr size_t kMostBegun = 1'000;
constexpr uint8_t kData = 0, kReset = 3;
constexpr uint8_t kEndStream = 1, kPadded = 8;

uint32_t Number(std::string_view bytes) {
  uint32_t out = 0;
  for (char c : bytes) out = out << 8 | static_cast<unsigned char>(c);
  return out;
}

// Moves bytes until `to` has so many; whether it has.
bool Fill(std::string* to, size_t size, std::string_view* from) {
  size_t count = std::min(size - to->size(), from->size());
  to->append(from->substr(0, count));
  from->remove_prefix(count);
  return to->size() == size;
}

}  // namespace

Result<> MessageGuard::Take(std::string_view bytes) {
  if (!greeted_) {
    greeted_ = Fill(&head_, kPreface.size(), &bytes);
    if (head_ != kPreface.substr(0, head_.size())) return InvalidArgument("this is no HTTP/2");
    if (!greeted_) return {};
    head_.clear();
  }
  while (!bytes.empty()) {
    if (frame_.left == 0) {
      if (!Fill(&head_, kFrameHead, &bytes)) return {};
      std::string_view head = head_;
      frame_ = {.left = Number(head.substr(0, 3)),
                .type = static_cast<uint8_t>(head[3]),
                .flags = static_cast<uint8_t>(head[4]),
                .stream = Number(head.substr(5)) & 0x7fffffff,
                .begins = true};
      head_.clear();
      if (frame_.left >= kMostFrameBytes) return InvalidArgument("this is no HTTP/2");
      if (frame_.left == 0) EndFrame();
      continue;
    }
    std::string_view payload = bytes.substr(0, frame_.left);
    bytes.remove_prefix(payload.size());
    frame_.left -= static_cast<uint32_t>(payload.size());
    if (frame_.type == kData) TRY(TakePayload(payload));
    if (frame_.left == 0) EndFrame();
  }
  return {};
}

Result<> MessageGuard::TakePayload(std::string_view payload) {
  if (std::exchange(frame_.begins, false) && (frame_.flags & kPadded) != 0) {
    frame_.padding = Number(payload.substr(0, 1));
    payload.remove_prefix(1);
  }
  // What is left of the frame ends with the padding.
  size_t data = payload.size() + frame_.left;
  data -= std::min<size_t>(data, frame_.padding);
  return TakeData(payload.substr(0, data));
}

Result<> MessageGuard::TakeData(std::string_view data) {
  while (!data.empty()) {
    Stream& stream = streams_[frame_.stream];
    if (streams_.size() > kMostBegun) {
      return MakeError(ErrorKind::kResourceExhausted, "{} messages are under way at once",
                       streams_.size());
    }
    if (stream.left == 0) {
      if (!Fill(&stream.prefix, kMessagePrefix, &data)) return {};
      stream.left = Number(std::string_view(stream.prefix).substr(1));
      stream.prefix.clear();
      waiting_ += stream.left;
      if (stream.left > limits_.message || waiting_ > limits_.all) {
        return MakeError(ErrorKind::kResourceExhausted, "a message of {} bytes is too large",
                         stream.left);
      }
    }
    size_t count = std::min<size_t>(stream.left, data.size());
    data.remove_prefix(count);
    stream.left -= count;
    waiting_ -= count;
    if (stream.left == 0) streams_.erase(frame_.stream);
  }
  return {};
}

void MessageGuard::EndFrame() {
  bool ends = frame_.type == kReset || (frame_.type == kData && (frame_.flags & kEndStream) != 0);
  if (ends) Forget(frame_.stream);
}

void MessageGuard::Forget(uint32_t stream) {
  auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  waiting_ -= found->second.left;
  streams_.erase(found);
}

}  // namespace gantry::buildkit
