// SPDX-License-Identifier: Apache-2.0
//
// The files of a container, as it sees them: of a running one through its own mounts, of any other
// through mounts that are made for the moment. Everything is resolved by the kernel below `root`:
// the container may be hostile, and run meanwhile. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/undo.h"
#include "base/unique_fd.h"
#include "engine/container.h"
#include "engine/user_remap.h"

namespace gantry::engine {

// What docker's X-Docker-Container-Path-Stat says.
struct PathStat {
  std::string name;
  int64_t size = 0;
  uint32_t mode = 0;  // Go's os.FileMode
  WallTime mtime{};
  std::string link_target;  // of a symbolic link: where it leads in the end
  bool is_directory = false;
};

struct ContainerFiles {
  // In this order: what is opened last is closed first, then mounts are released, then the turn.
  std::shared_ptr<Container> container;
  Container::RecordPointer record;
  std::optional<Container::Turn> turn;
  Undo cleanup;
  UniqueFd name_space;
  UniqueFd root;
  // Set when owners below `root` are those of the host, and not the container's.
  const UserRemap* remap = nullptr;
};

// The root of a running container. kAborted: it has ended meanwhile.
Result<UniqueFd> OpenRootOfProcess(const ContainerRecord& record);
// Its root mount alone, without what is mounted below.
Result<UniqueFd> CloneRootOfProcess(const ContainerRecord& record);

// `path` as docker cleans it: absolute, a trailing "/" or "/." stays.
std::string CleanPathOfCopy(const std::string& path);
// filepath.Base of it.
std::string BaseOf(const std::string& path);
// Where `path` leads once every symbolic link is followed, as far as there is something.
Result<std::string> FollowLinks(BorrowedFd root, const std::string& path);
// Of the entry itself; kNotFound with ENOENT.
Result<PathStat> StatIn(BorrowedFd root, const std::string& path);
// Says in docker's words that nothing can be written in this directory.
Result<> CheckWritable(BorrowedFd root, BorrowedFd directory, bool readonly_rootfs);

}  // namespace gantry::engine
