// SPDX-License-Identifier: Apache-2.0
//
// The chunked transfer coding (RFC 9112 section 7.1), both ways. The decoder copies nothing: each
// step consumes a prefix of the bytes and points at the part of it that is body. Extensions and
// trailers are read and dropped, with bounds. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::wire {

class ChunkedDecoder {
 public:
  struct Step {
    size_t consumed = 0;
    std::string_view body;  // inside the data given; may be empty
  };

  // Call again with what is left until all is consumed or done().
  Result<Step> Next(std::string_view data);
  // The last chunk and its trailers are read; what follows is not body.
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State { kSizeLine, kData, kDataEnd, kTrailers, kDone };

  Result<Step> ReadLine(std::string_view data);
  Result<> TakeSize();

  State state_ = State::kSizeLine;
  uint64_t left_ = 0;  // of the present chunk
  std::string line_;   // unfinished size, end or trailer line
  size_t trailer_bytes_ = 0;
};

// Appends one chunk; empty data appends nothing, since an empty chunk is the end.
void AppendChunk(std::string_view data, std::string* out);
// "1a\r\n": what goes before a chunk of that size; "\r\n" goes after it.
std::string ChunkHead(size_t size);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace gantry::wire
