// SPDX-License-Identifier: Apache-2.0
//
// An open directory to be listed, closed at the end of its life.
#pragma once

#include <dirent.h>

#include <memory>

namespace gantry {

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// From opendir(3) or, which takes the descriptor over, fdopendir(3).
using DirectoryHandle = std::unique_ptr<DIR, DirectoryCloser>;

}  // namespace gantry
