// SPDX-License-Identifier: Apache-2.0
//
// The sending side of fsutil's protocol (protos/fsutil/wire.proto): a directory here to a client,
// which says which files it wants. Entries come in the order of a walk, each directory's names
// sorted. Extended attributes and sockets are left out. One thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "buildkit/packet_stream.h"

namespace gantry::buildkit {

// All but path and link.
void FillStat(const struct stat& status, fsutil::types::Stat* out);

// Nobody changes what is below `root`.
struct SentTree {
  std::string directory;  // of the client's, one level; "": its root
  BorrowedFd root;
};

class TreeSender {
 public:
  // One for the client's root, or any for directories of theirs.
  explicit TreeSender(std::vector<SentTree> trees);

  // To the receiver's FIN and the end of the stream. kUnavailable when it ends before.
  Result<> Run(PacketStream& stream);
  int64_t bytes() const { return bytes_; }

 private:
  Result<> SendAll(PacketStream& stream);
  Result<> Walk(PacketStream& stream, BorrowedFd directory, const std::string& path, int depth);
  Result<> SendFile(PacketStream& stream, uint32_t number);
  // What the receiver asks for, in another thread while entries are still told.
  void ReadRequests(PacketStream& stream);
  // The next; nothing at the end of the stream.
  std::optional<fsutil::types::Packet> NextRequest();

  struct File {
    BorrowedFd root;
    std::string path;  // below it; "" for what has no contents
  };
  Result<> SendDirectory(PacketStream& stream, const SentTree& tree);

  std::vector<SentTree> trees_;     // in the order of their directories
  const SentTree* tree_ = nullptr;  // the one that is told
  std::vector<File> files_;         // by number
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  int64_t bytes_ = 0;
  Mutex mutex_;
  CondVar come_;
  std::deque<fsutil::types::Packet> requests_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::buildkit
