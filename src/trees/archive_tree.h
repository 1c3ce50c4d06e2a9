// SPDX-License-Identifier: Apache-2.0
//
// A directory or file that somebody else has filled, as a tar archive: docker cp, export. Names are
// resolved one by one from open directories, no link is followed. What vanishes meanwhile is left
// out. Sockets are left out. One thread.
#pragma once

#include <functional>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"

namespace gantry::trees {

struct ArchiveRequest {
  // What the directory or file is called in the archive; "" for what is in a directory alone.
  std::string name;
  // Whether the walk goes into a mount at this path below the directory ("a/b"); unset: always.
  std::function<bool(const std::string& path)> enters_mount;
  StopToken stop;
};

Result<> ArchiveDirectory(BorrowedFd directory, const ArchiveRequest& request, ByteSink& sink);
// The entry `base` of a directory, which is no directory itself.
Result<> ArchiveFile(BorrowedFd parent, const std::string& base, const ArchiveRequest& request,
                     ByteSink& sink);

}  // namespace gantry::trees
