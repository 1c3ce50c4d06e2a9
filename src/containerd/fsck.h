// SPDX-License-Identifier: Apache-2.0
//
// `gantry-containerd fsck`: proves that the records and what is on disk are one, while no daemon
// uses them. Every file under the root belongs to a record, every record has its bytes, and blobs
// have the digest that they are named by (docs/state-on-disk.md). A repair takes away what is
// damaged and what nobody owns, never what only exists here: the layer that a container writes to.
// One thread.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"

namespace gantry::containerd {

struct FsckOptions {
  std::string root;
  bool repair = false;
  bool quick = false;  // sizes only, no digests
  // A file that gets what there is after it, as JSON: by namespace the keys of "snapshots", the
  // digests of "content", the ids of "leases". For those who check what refers to them. "": none
  std::string inventory;
};

// kAlreadyExists: a daemon has the root. The faults that are there, or that were there before the
// repair; `report` gets a line for each of them, and one for each repair.
struct FsckResult {
  size_t checked_blobs = 0;
  size_t checked_snapshots = 0;
  size_t faults = 0;
  size_t repaired = 0;
};
Result<FsckResult> Fsck(const FsckOptions& options,
                        const std::function<void(const std::string&)>& report);

}  // namespace gantry::containerd
