// SPDX-License-Identifier: Apache-2.0
//
// The attach protocol's frames (docs/shim-io.md), "[type,0,0,0][uint32 big-endian size][bytes]",
// and text in them. Pure; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::build {

// Bytes of a connection to frames.
class AttachFrames {
 public:
  static constexpr uint8_t kStdin = 0;
  static constexpr uint8_t kStdout = 1;
  static constexpr uint8_t kStderr = 2;
  using Each = std::function<Result<>(uint8_t stream, std::string_view bytes)>;

  // `each` gets those that are whole by now.
  Result<> Take(std::string_view data, const Each& each);
  // One frame as it is sent.
  static std::string Make(uint8_t stream, std::string_view bytes);

 private:
  std::string pending_;
};

// What a command writes, as pieces of whole characters of UTF-8.
class OutputText {
 public:
  using Tell = std::function<Result<>(bool to_stderr, std::string_view text)>;
  explicit OutputText(Tell tell) : tell_(std::move(tell)) {}
  Result<> Take(bool to_stderr, std::string_view bytes);

 private:
  const Tell tell_;
  std::string out_rest_;
  std::string error_rest_;
};

}  // namespace gantry::build
