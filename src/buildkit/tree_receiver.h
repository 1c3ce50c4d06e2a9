// SPDX-License-Identifier: Apache-2.0
//
// The receiving side of fsutil's protocol (protos/fsutil/wire.proto): a directory of the client
// into one here, which is empty, or has what came earlier: then only files are asked for whose
// size, mode or time is another one, and what the client does not tell any more goes. What comes is
// hostile: every name is made below a root that the kernel resolves without following links. One
// thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "buildkit/packet_stream.h"
#include "kernel/paths.h"

namespace gantry::buildkit {

class TreeReceiver {
 public:
  enum class Root : uint8_t { kEmpty, kHasEarlier };
  // `told` hears how many bytes have come so far; may be empty.
  TreeReceiver(BorrowedFd root, Root state, std::function<void(int64_t bytes)> told = {})
      : root_(root), updates_(state == Root::kHasEarlier), told_(std::move(told)) {}

  // To the sender's FIN. kUnavailable when the stream ends before.
  Result<> Run(PacketStream& stream);
  // That came, and of all files.
  int64_t bytes() const { return bytes_; }
  int64_t size() const { return size_; }

 private:
  struct File {
    std::string path;
    mode_t mode = 0;
    int64_t modified = 0;  // nanoseconds since 1970
    UniqueFd fd;           // while its bytes come
  };

  Result<> Take(const fsutil::types::Stat& stat);
  Result<> Make(const fsutil::types::Stat& stat, const kernel::ParentAndName& place,
                uint32_t number);
  // It is here as the client has it.
  Result<bool> IsHere(const fsutil::types::Stat& stat, const kernel::ParentAndName& place) const;
  // What was not told.
  Result<> RemoveOthers(BorrowedFd directory, const std::string& path, int depth);
  // Asks for the next files, as long as not too many are on their way.
  Result<> Ask(PacketStream& stream);
  Result<> Write(const fsutil::types::Packet& packet);
  // Modes and times, once nothing changes them any more.
  Result<> FinishDirectories();

  const BorrowedFd root_;
  const bool updates_;
  const std::function<void(int64_t bytes)> told_;
  std::unordered_set<std::string> seen_;          // paths, of an update
  uint32_t number_ = 0;                           // of the next entry
  std::deque<std::pair<uint32_t, File>> wanted_;  // by number, not asked for yet
  std::unordered_map<uint32_t, File> coming_;
  std::vector<File> directories_;
  bool listed_ = false;  // all entries have been told
  int64_t bytes_ = 0;
  int64_t size_ = 0;
};

}  // namespace gantry::buildkit
