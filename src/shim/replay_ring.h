// SPDX-License-Identifier: Apache-2.0
//
// The last 64 KiB of a process's output with the stream that each byte belongs to, so that a client
// that lost its connection can go on where it was (docs/shim-io.md, offset). One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "shim/attach_protocol.h"

namespace gantry::shim {

class ReplayRing {
 public:
  static constexpr size_t kSize = 65536;

  void Append(StreamId stream, std::string_view bytes) {
    end_ += bytes.size();
    if (bytes.size() >= kSize) {
      segments_.clear();
      held_ = 0;
      bytes.remove_prefix(bytes.size() - kSize);
    }
    // Small writes are joined, so that the book-keeping stays small against the bytes.
    if (!segments_.empty() && segments_.back().stream == stream &&
        segments_.back().bytes.size() + bytes.size() <= kJoin) {
      segments_.back().bytes.append(bytes);
    } else if (!bytes.empty()) {
      segments_.push_back({stream, std::string(bytes)});
    }
    held_ += bytes.size();
    while (held_ - segments_.front().bytes.size() >= kSize) {
      held_ -= segments_.front().bytes.size();
      segments_.pop_front();
    }
  }

  // Count of all output bytes so far.
  uint64_t end() const { return end_; }
  bool Reaches(uint64_t offset) const { return offset <= end_ && end_ - offset <= held_; }
  // Calls write(stream, bytes) for everything from `offset`, which must be reached.
  template <typename F>
  void Replay(uint64_t offset, F&& write) const {
    uint64_t at = end_ - held_;
    for (const Segment& segment : segments_) {
      std::string_view bytes = segment.bytes;
      uint64_t segment_end = at + bytes.size();
      if (offset < segment_end) {
        if (offset > at) bytes.remove_prefix(static_cast<size_t>(offset - at));
        write(segment.stream, bytes);
      }
      at = segment_end;
    }
  }

 private:
  static constexpr size_t kJoin = 4096;
  struct Segment {
    StreamId stream;
    std::string bytes;
  };
  std::deque<Segment> segments_;
  size_t held_ = 0;
  uint64_t end_ = 0;
};

}  // namespace gantry::shim
