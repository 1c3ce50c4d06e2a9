// SPDX-License-Identifier: Apache-2.0
//
// `gantry-containerd fsck`: proves, while no daemon runs on them, that the database and the
// directories below a root are one (docs/state-on-disk.md): each file belongs to a record, each
// record has its bytes, each blob has its digest. Repairing makes them one by taking away what is
// damaged or nobody's; what a pull or an unpacking brings back is given up, what only exists here
// (the layer that a container writes to) is never touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace gantry::containerd {

enum class FsckMode { kLook, kRepair };

struct FsckFinding {
  std::string fault;   // "blob sha256:…: its digest is sha256:…"
  std::string repair;  // what was done, or would be; empty: nothing can be done here
};

struct FsckReport {
  size_t blobs = 0;
  uint64_t bytes = 0;  // of blobs
  size_t ingests = 0;
  size_t snapshots = 0;
  std::vector<FsckFinding> findings;
};

// `root` is the daemon's --root. kAlreadyExists: a daemon runs on it. kNotFound: no store is there.
Result<FsckReport> CheckStores(const std::string& root, FsckMode mode);

}  // namespace gantry::containerd
