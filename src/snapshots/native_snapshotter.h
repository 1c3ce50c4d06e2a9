// SPDX-License-Identifier: Apache-2.0
//
// The "native" snapshotter: ROOT/N is a whole copy of the parent (reflinked where the file system
// can). Works everywhere, costs space. Any thread.
#pragma once

#include <memory>
#include <string>

#include "snapshots/snapshotter.h"
#include "snapshots/trash.h"

namespace gantry::snapshots {

// `root` is made when missing; `records` and `trash` outlive the snapshotter.
Result<std::unique_ptr<Snapshotter>> MakeNativeSnapshotter(const std::string& root,
                                                           SnapshotRecords* records, Trash* trash);

}  // namespace gantry::snapshots
