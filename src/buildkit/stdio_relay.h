// SPDX-License-Identifier: Apache-2.0
//
// Bytes between a container's streams, in frames of the attach protocol (docs/shim-io.md), and the
// socket of whoever speaks with its program. Both are non-blocking; who does not read holds the
// other one back. One thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "build/attach_frames.h"

namespace gantry::buildkit {

class StdioRelay {
 public:
  enum class End : uint8_t {
    kOutput,  // the program's output has ended
    kPeer,    // the peer has hung up
    kLate,    // so long after `last` nothing has ended yet
  };
  struct Ends {
    StopToken stop;  // kCancelled
    StopToken last;  // from here on it should end soon
    std::chrono::milliseconds bound;
  };
  using Take = std::function<Result<>(std::string_view bytes)>;
  // `told` gets what comes over stderr; `check` sees what goes to the peer before. An error of
  // either ends it.
  StdioRelay(BorrowedFd streams, BorrowedFd peer, Take told, Take check)
      : streams_(streams), peer_(peer), told_(std::move(told)), check_(std::move(check)) {}

  Result<End> Run(const Ends& ends);

 private:
  // False at the end of what can be read.
  Result<bool> ReadStreams();
  Result<bool> ReadPeer();

  const BorrowedFd streams_;
  const BorrowedFd peer_;
  const Take told_;
  const Take check_;
  build::AttachFrames frames_;
  std::string to_peer_;
  std::string to_program_;
};

}  // namespace gantry::buildkit
