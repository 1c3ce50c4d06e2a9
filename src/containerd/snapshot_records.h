// SPDX-License-Identifier: Apache-2.0
//
// The records of one snapshotter in meta.db. Any thread.
#pragma once

#include <memory>
#include <string>

#include "containerd/database.h"
#include "snapshots/snapshotter.h"

namespace gantry::containerd {

// `database` outlives the records.
std::unique_ptr<snapshots::SnapshotRecords> MakeSnapshotRecords(Database* database,
                                                                const std::string& snapshotter);

}  // namespace gantry::containerd
