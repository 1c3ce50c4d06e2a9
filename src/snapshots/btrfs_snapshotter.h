// SPDX-License-Identifier: Apache-2.0
//
// Snapshots as subvolumes of btrfs: a child is a copy of its parent that shares its bytes, so that
// containers are mounted by a plain bind. `root` and the trash must be on one btrfs. What a
// committed snapshot takes is counted with what it shares with its parent. Any thread.
#pragma once

#include <memory>
#include <string>

#include "snapshots/snapshotter.h"
#include "snapshots/trash.h"

namespace gantry::snapshots {

// kFailedPrecondition: `root` is not on btrfs.
Result<std::unique_ptr<Snapshotter>> MakeBtrfsSnapshotter(const std::string& root,
                                                          SnapshotRecords* records, Trash* trash);

}  // namespace gantry::snapshots
