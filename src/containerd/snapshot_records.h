// SPDX-License-Identifier: Apache-2.0
//
// The records of one snapshotter in meta.db. Any thread.
#pragma once

#include <memory>
#include <string>

#include "records/database.h"
#include "snapshots/snapshotter.h"

namespace gantry::containerd {

using records::Blob;
using records::Database;
using records::Rows;
using records::Transaction;

// `database` outlives the records.
std::unique_ptr<snapshots::SnapshotRecords> MakeSnapshotRecords(Database* database,
                                                                const std::string& snapshotter);

}  // namespace gantry::containerd
