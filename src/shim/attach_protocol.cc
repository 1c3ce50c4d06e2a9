// SPDX-License-Identifier: Apache-2.0
#include "shim/attach_protocol.h"

#include <algorithm>
#include <cstring>

namespace gantry::shim {

Result<AttachRequest> ParseAttachRequest(std::string_view bytes) {
  CHECK(bytes.size() == kAttachRequestSize);
  if (!bytes.starts_with("GIO1")) return InvalidArgument("attaching: the magic is not GIO1");
  auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  if (byte(4) == 0 || (byte(4) & ~7) != 0 || byte(5) != 0 || byte(6) != 0 || byte(7) != 0) {
    return InvalidArgument("attaching: unknown streams or reserved bytes");
  }
  AttachRequest request;
  request.wants_stdin = (byte(4) & 1) != 0;
  request.wants_stdout = (byte(4) & 2) != 0;
  request.wants_stderr = (byte(4) & 4) != 0;
  request.offset = 0;
  for (size_t i = 0; i < 8; ++i) request.offset |= uint64_t{byte(8 + i)} << (8 * i);
  return request;
}

std::array<char, kAttachAnswerSize> AttachAnswer(uint32_t error_number) {
  std::array<char, kAttachAnswerSize> out{'G', 'I', 'O', '1'};
  for (size_t i = 0; i < 4; ++i) out[4 + i] = static_cast<char>(error_number >> (8 * i));
  return out;
}

std::array<char, kFrameHeaderSize> FrameHeader(StreamId stream, uint32_t size) {
  return {static_cast<char>(stream),
          0,
          0,
          0,
          static_cast<char>(size >> 24),
          static_cast<char>(size >> 16),
          static_cast<char>(size >> 8),
          static_cast<char>(size)};
}

bool FrameParser::Next(std::string_view* input, std::string_view* out) {
  while (!input->empty() && !broken_) {
    if (left_ > 0) {
      *out = input->substr(0, left_);
      input->remove_prefix(out->size());
      left_ -= static_cast<uint32_t>(out->size());
      return true;
    }
    size_t missing = std::min(kFrameHeaderSize - header_.size(), input->size());
    header_.append(input->substr(0, missing));
    input->remove_prefix(missing);
    if (header_.size() < kFrameHeaderSize) return false;
    auto byte = [&](size_t i) { return uint32_t{static_cast<uint8_t>(header_[i])}; };
    broken_ = byte(0) != 0;
    left_ = byte(4) << 24 | byte(5) << 16 | byte(6) << 8 | byte(7);
    if (left_ == 0) ended_ = true;
    header_.clear();
  }
  return false;
}

}  // namespace gantry::shim
