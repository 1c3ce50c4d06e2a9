// SPDX-License-Identifier: Apache-2.0
//
// The receiving side of fsutil's protocol (protos/fsutil/wire.proto): a directory of the client
// into an empty one here. What comes is hostile: every name is made below a root that the kernel
// resolves without following links. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "buildkit/packet_stream.h"

namespace gantry::buildkit {

class TreeReceiver {
 public:
  explicit TreeReceiver(BorrowedFd root) : root_(root) {}

  // To the sender's FIN. kUnavailable when the stream ends before.
  Result<> Run(PacketStream& stream);
  int64_t bytes() const { return bytes_; }

 private:
  struct File {
    std::string path;
    mode_t mode = 0;
    int64_t modified = 0;  // nanoseconds since 1970
    UniqueFd fd;           // while its bytes come
  };

  Result<> Make(const fsutil::types::Stat& stat);
  // Asks for the next files, as long as not too many are on their way.
  Result<> Ask(PacketStream& stream);
  Result<> Write(const fsutil::types::Packet& packet);
  // Modes and times, once nothing changes them any more.
  Result<> FinishDirectories();

  const BorrowedFd root_;
  uint32_t number_ = 0;                           // of the next entry
  std::deque<std::pair<uint32_t, File>> wanted_;  // by number, not asked for yet
  std::unordered_map<uint32_t, File> coming_;
  std::vector<File> directories_;
  bool listed_ = false;  // all entries have been told
  int64_t bytes_ = 0;
};

}  // namespace gantry::buildkit
