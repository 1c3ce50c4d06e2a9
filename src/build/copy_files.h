// SPDX-License-Identifier: Apache-2.0
//
// Puts the files of COPY and ADD into a root directory that an image has filled: resolved by the
// kernel below its descriptor, with links followed inside of it. One thread.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "build/copy_source.h"
#include "formats/mode_change.h"
#include "wire/worker_pool.h"

namespace gantry::build {

using OwnerIds = std::pair<uid_t, gid_t>;

// "USER", "USER:GROUP", names or numbers; a user alone is the group, too. Names are those of the
// root's own files, which are trusted with nothing but numbers.
Result<OwnerIds> ParseOwner(BorrowedFd root, const std::string& text);

struct CopyRequest {
  BorrowedFd root;
  std::string destination;        // absolute; a "/" at its end makes it a directory
  std::optional<OwnerIds> owner;  // unset: as the source has it
  std::optional<formats::ModeChange> mode;
  std::optional<timespec> time;            // unset: as the source has it
  std::optional<OwnerIds> unpacked_owner;  // unset: as the archive has it
  // Missing directories get the mode, too, as in BuildKit's builds.
  bool mode_is_of_parents = false;
  StopToken stop;
  wire::WorkerPool* workers = nullptr;  // reads sources beside the caller, who writes
};
Result<> CopyInto(const CopyRequest& request, const std::vector<CopySource>& sources);

}  // namespace gantry::build
