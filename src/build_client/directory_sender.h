// SPDX-License-Identifier: Apache-2.0
//
// One of the user's directories to the engine, by fsutil's protocol (protos/fsutil/wire.proto): all
// entries are told, and the files sent that the engine asks for, which are those that have changed
// since it had the directory last. Owners are left out: what a build gets is root's. One thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "build_client/path_choice.h"
#include "fsutil/wire.plain.h"
#include "wire/grpc_connection.h"

namespace gantry::build_client {

struct SharedDirectory {
  UniqueFd root;
  // Without a root: files of their names that are only in memory.
  std::map<std::string, std::string> texts;
};

// Serves a call of moby.filesync.v1.FileSync/DiffCopy; lives as long as it.
class DirectorySender : public std::enable_shared_from_this<DirectorySender> {
 public:
  static void Serve(const std::shared_ptr<wire::GrpcCall>& call,
                    std::shared_ptr<const SharedDirectory> directory);

 private:
  using Packet = plain::fsutil::types::Packet;
  using Stat = plain::fsutil::types::Stat;

  DirectorySender(wire::GrpcCall& call, std::shared_ptr<const SharedDirectory> directory)
      : call_(call), directory_(std::move(directory)) {}
  Result<> TellAll();
  Result<> Walk(BorrowedFd directory, const std::string& path, int depth);
  Result<> Tell(BorrowedFd directory, const std::string& name, const std::string& path,
                const struct stat& status);
  // An entry, after the directories above it that were not told yet.
  void Send(Stat stat, std::string contents);
  void Take(std::string_view message);
  // The next piece of the files that were asked for.
  void SendMore();
  Result<> SendPiece();
  void Fail(const Error& error);

  wire::GrpcCall& call_;
  const std::shared_ptr<const SharedDirectory> directory_;
  PathChoice choice_;
  std::vector<Stat> above_;         // directories on the way, not told yet
  std::vector<std::string> files_;  // by number; "" for what has no contents
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  std::deque<uint32_t> wanted_;
  UniqueFd file_;  // of the first that is wanted
  std::string_view text_;
  bool begun_ = false;
  bool done_ = false;
};

}  // namespace gantry::build_client
