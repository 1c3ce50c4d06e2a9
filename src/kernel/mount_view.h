// SPDX-License-Identifier: Apache-2.0
//
// Mounts put together where nobody sees them: in a mount namespace that lives as long as its
// descriptor. Any thread; the work is done by a thread of its own, which ends.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

struct PlacedMount {
  UniqueFd mount;     // detached
  std::string place;  // below the root, resolved there; made when it is missing
};

struct MountView {
  UniqueFd name_space;
  UniqueFd root;  // of the root mount; paths below it see what was placed
};

// `root` and `mounts` are detached; the mounts are placed in their order.
Result<MountView> MakeMountView(UniqueFd root, std::vector<PlacedMount> mounts);

// The root mount of another mount namespace without anything that is mounted below it, detached.
Result<UniqueFd> CloneRootOf(BorrowedFd mount_namespace);

}  // namespace gantry::kernel
