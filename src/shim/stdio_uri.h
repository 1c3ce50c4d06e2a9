// SPDX-License-Identifier: Apache-2.0
//
// What `stdin`, `stdout` and `stderr` of Create and Exec name: nothing, a fifo, file://, binary://,
// binary-v2:// (containerd's meanings) or gantry:// (docs/shim-io.md). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace gantry::shim {

enum class StdioScheme { kNone, kFifo, kFile, kBinary, kBinaryV2, kGantry };

struct StdioUri {
  StdioScheme scheme = StdioScheme::kNone;
  std::string path;
  // Decoded, in order.
  std::vector<std::pair<std::string, std::string>> query;
};

Result<StdioUri> ParseStdioUri(std::string_view text);

// A program reads it; the two differ in how it says that it is ready (shim/log_program.h).
inline bool IsBinary(StdioScheme scheme) {
  return scheme == StdioScheme::kBinary || scheme == StdioScheme::kBinaryV2;
}

enum class StdinMode { kNone, kOnce, kOpen };

struct GantryStdio {
  std::string socket;
  std::string log;  // empty: no log
  int64_t max_size = -1;
  int max_files = 1;
  bool compress = false;
  std::string attributes;  // a JSON object, or nothing
  StdinMode stdin_mode = StdinMode::kNone;
};

// An unknown key or version is refused, so that nothing is silently ignored.
Result<GantryStdio> ParseGantryStdio(const StdioUri& uri);

}  // namespace gantry::shim
