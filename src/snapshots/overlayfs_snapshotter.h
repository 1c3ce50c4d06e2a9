// SPDX-License-Identifier: Apache-2.0
//
// The "overlayfs" snapshotter: ROOT/N/fs is a layer's own files, ROOT/N/work overlay's work
// directory. It has quotas where the file system of ROOT has project quotas. Any thread.
#pragma once

#include <memory>
#include <string>

#include "snapshots/snapshotter.h"
#include "snapshots/trash.h"

namespace gantry::snapshots {

// `root` is made when missing; `records` and `trash` outlive the snapshotter.
Result<std::unique_ptr<Snapshotter>> MakeOverlayfsSnapshotter(const std::string& root,
                                                              SnapshotRecords* records,
                                                              Trash* trash);

}  // namespace gantry::snapshots
