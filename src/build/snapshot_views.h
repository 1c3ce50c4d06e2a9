// SPDX-License-Identifier: Apache-2.0
//
// Snapshots that a build looks at: read only, under leases of their own, for as long as the object
// lives. Any thread.
#pragma once

#include <map>
#include <string>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "engine/engine.h"
#include "engine/new_image.h"

namespace gantry::build {

class SnapshotViews {
 public:
  explicit SnapshotViews(engine::Engine& engine) : engine_(engine) {}
  SnapshotViews(const SnapshotViews&) = delete;
  SnapshotViews& operator=(const SnapshotViews&) = delete;
  ~SnapshotViews();

  // The files of a chain. kInvalidArgument: of nothing.
  Result<BorrowedFd> Open(const std::string& chain_id);
  // The same as another mount.
  Result<UniqueFd> OpenAnother(const std::string& chain_id);

 private:
  struct View {
    std::optional<engine::Lease> lease;
    std::string snapshot;
    UniqueFd root;
  };

  engine::Engine& engine_;
  Mutex mutex_;
  std::map<std::string, View> views_ GUARDED_BY(mutex_);  // by chain id
};

}  // namespace gantry::build
