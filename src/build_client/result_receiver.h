// SPDX-License-Identifier: Apache-2.0
//
// What the engine sends of a build's result (moby.filesync.v1.FileSend/DiffCopy): a directory by
// fsutil's protocol, or the bytes of one file. What is in a directory there already stays; an entry
// of the same name is replaced. Names are made below its root without following a link, and all
// becomes the user's own. One thread.
#pragma once

#include <sys/types.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "fsutil/wire.plain.h"
#include "wire/grpc_connection.h"

namespace gantry::build_client {

// Where a result goes: a directory, which is made, a file, which appears whole, or "-", standard
// output.
struct ResultTarget {
  enum class Kind : uint8_t { kDirectory, kFile };
  Kind kind = Kind::kFile;
  std::string path;
};

class DirectoryReceiver : public std::enable_shared_from_this<DirectoryReceiver> {
 public:
  // Lives as long as the call.
  static void Serve(const std::shared_ptr<wire::GrpcCall>& call, const std::string& path);

 private:
  using Packet = plain::fsutil::types::Packet;
  using Stat = plain::fsutil::types::Stat;
  struct File {
    std::string path;
    mode_t mode = 0;
    int64_t modified = 0;  // nanoseconds since 1970
    UniqueFd fd;           // while its bytes come
  };

  explicit DirectoryReceiver(wire::GrpcCall& call) : call_(call) {}
  void Take(std::string_view message);
  Result<> TakePacket(const Packet& packet);
  Result<> Make(const Stat& stat);
  Result<> Ask();
  Result<> Write(const Packet& packet);
  Result<> FinishDirectories();

  wire::GrpcCall& call_;
  UniqueFd root_;
  uint32_t number_ = 0;                           // of the next entry
  std::deque<std::pair<uint32_t, File>> wanted_;  // by number, not asked for yet
  std::map<uint32_t, File> coming_;
  std::vector<File> directories_;
  bool listed_ = false;
  bool told_end_ = false;
  bool done_ = false;
};

// Serves the call for a target of either kind.
void ReceiveResult(const std::shared_ptr<wire::GrpcCall>& call, const ResultTarget& target);

}  // namespace gantry::build_client
