// SPDX-License-Identifier: Apache-2.0
//
// A directory or file that somebody else has filled, as a tar archive: docker cp, export. Names are
// resolved one by one from open directories, no link is followed. What vanishes meanwhile is left
// out. Sockets are left out. One thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"

namespace gantry::trees {

enum class Take : uint8_t {
  kYes,
  kNo,
  kContents,  // of a directory: what is taken in it, and itself only with that
};

struct ArchiveRequest {
  // What the directory or file is called in the archive; "" for what is in a directory alone.
  std::string name;
  // Whether the walk goes into a mount at this path below the directory ("a/b"); unset: always.
  std::function<bool(const std::string& path)> enters_mount;
  // Whether what is at this path below the directory is taken; unset: everything.
  std::function<Take(const std::string& path)> takes;
  // No time in the archive is later than this one: with 0 the bytes say nothing of times.
  std::optional<int64_t> newest_seconds;
  // Whom the archive names for an owner on disk; unset: the same.
  std::function<std::pair<uid_t, gid_t>(uid_t uid, gid_t gid)> map_owner;
  StopToken stop;
};

Result<> ArchiveDirectory(BorrowedFd directory, const ArchiveRequest& request, ByteSink& sink);
// The entry `base` of a directory, which is no directory itself.
Result<> ArchiveFile(BorrowedFd parent, const std::string& base, const ArchiveRequest& request,
                     ByteSink& sink);

}  // namespace gantry::trees
