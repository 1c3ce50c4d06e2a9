// SPDX-License-Identifier: Apache-2.0
//
// `gantryd fsck`: proves that the engine's records and what is below its root are one, while no
// gantryd uses them (docs/state-on-disk.md). A repair takes away what nobody owns and records that
// can't be read or lead nowhere, never what only exists here: containers, and files of volumes.
// One thread.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "records/database.h"
#include "records/faults.h"

namespace gantry::engine {

// What the container daemon has of this engine's namespace.
struct Inventory {
  std::set<std::string> snapshots;  // keys
  std::set<std::string> content;    // digests
  std::set<std::string> leases;     // ids
};
// As `gantry-containerd fsck --inventory` writes it. A namespace that is not there has nothing.
Result<Inventory> ReadInventory(const std::string& path, const std::string& ns);

struct FsckOptions {
  std::string root;
  bool repair = false;
  std::optional<Inventory> inventory;  // without it, what refers to it is not compared
  // Others who keep records in the same database add what they find.
  std::function<Result<>(records::Database& database, std::vector<records::Fault>* faults)> more;
};

struct FsckResult {
  size_t containers = 0;
  size_t volumes = 0;
  size_t networks = 0;
  records::FaultCount count;
};
// kNotFound: there is no engine's database. The caller has the lock of `root` (EngineLock).
Result<FsckResult> Fsck(const FsckOptions& options,
                        const std::function<void(const std::string&)>& report);

// The lock that a gantryd has on its root while it lives, so that no two with different run
// directories share one, and nothing is checked under a living one.
std::string EngineLock(const std::string& root);
// Where answers about images are kept (engine/api/image_list_cache.h). A repair removes it.
std::string ImageListFile(const std::string& root);

}  // namespace gantry::engine
