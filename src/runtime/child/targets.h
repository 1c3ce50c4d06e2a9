// SPDX-License-Identifier: Apache-2.0
//
// Places inside the container's root to mount on or to write to, made where missing. Everything
// below the root's descriptor; a symbolic link never leads out. In the child.
#pragma once

#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::runtime::child {

enum class TargetKind : uint8_t { kDirectory, kFile };

struct Target {
  UniqueFd fd;  // O_PATH
  bool existed = true;
};

// Resolves `path` below `root` and makes what is missing of it, also the missing target of a
// symbolic link (images have /etc/resolv.conf as a link into an empty /run).
Result<Target> MakeTarget(BorrowedFd root, std::string_view path, TargetKind kind);

}  // namespace gantry::runtime::child
