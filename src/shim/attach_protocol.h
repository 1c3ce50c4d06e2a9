// SPDX-License-Identifier: Apache-2.0
//
// The bytes of the attach protocol (docs/shim-io.md): the client's request, the frames both ways.
// Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::shim {

inline constexpr size_t kAttachRequestSize = 16;
inline constexpr size_t kAttachAnswerSize = 8;
inline constexpr size_t kFrameHeaderSize = 8;
inline constexpr uint64_t kFromNow = UINT64_MAX;

enum class StreamId : uint8_t { kStdin = 0, kStdout = 1, kStderr = 2 };

struct AttachRequest {
  bool wants_stdin = false;
  bool wants_stdout = false;
  bool wants_stderr = false;
  uint64_t offset = kFromNow;

  bool Wants(StreamId stream) const {
    return stream == StreamId::kStdout ? wants_stdout : wants_stderr;
  }
};

// `bytes` has kAttachRequestSize bytes.
Result<AttachRequest> ParseAttachRequest(std::string_view bytes);
std::array<char, kAttachAnswerSize> AttachAnswer(uint32_t error_number);
std::array<char, kFrameHeaderSize> FrameHeader(StreamId stream, uint32_t size);

// Cuts what a client sends into stdin bytes. A frame of size 0 is stdin's end.
class FrameParser {
 public:
  // Moves the next bytes of stdin out of *input into *out; false: *input is used up or broken.
  bool Next(std::string_view* input, std::string_view* out);
  bool ended() const { return ended_; }    // a frame of size 0 was read
  bool broken() const { return broken_; }  // a frame of another type

 private:
  std::string header_;
  uint32_t left_ = 0;
  bool ended_ = false;
  bool broken_ = false;
};

}  // namespace gantry::shim
