// SPDX-License-Identifier: Apache-2.0
//
// Where ext4 puts new directories (chattr(1), "T"). It makes a directory in the group of inodes
// that its parent is in, and without a journal it looks, for each new inode, at every inode of the
// group that was deleted in the last five minutes (ext4_new_inode). Where directories come and go
// for every container that search is most of what a new file costs. Any thread.
#pragma once

#include <string>

#include "base/error.h"

namespace gantry::kernel {

// What is made in the directory `path` from now on is unrelated, and goes to any group of inodes.
// Nothing happens on file systems that do not know of it.
Result<> SpreadSubdirectories(const std::string& path);

}  // namespace gantry::kernel
