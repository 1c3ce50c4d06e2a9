// SPDX-License-Identifier: Apache-2.0
//
// What a directory takes on disk: blocks, and inodes, each counted once whatever its hard links.
// Does not follow links or leave the file system. Any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "snapshots/snapshotter.h"

namespace gantry::snapshots {

Result<Usage> DiskUsage(const std::string& directory);

}  // namespace gantry::snapshots
