// SPDX-License-Identifier: Apache-2.0
//
// Makes the mounts of a step (step_mounts.h) for the time of its container: of files, caches,
// memory, the client's secrets and agents. One thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "build/cache.h"
#include "build/context.h"
#include "build/request.h"
#include "build/snapshot_views.h"
#include "build/step_mounts.h"
#include "engine/engine.h"

namespace gantry::build {

class StepMounter {
 public:
  struct Parts {
    engine::Engine& engine;
    const BuildRequest& request;
    Context& context;  // what is made beside it goes with the build
    SnapshotViews& views;
    Cache& cache;
    const StopToken stop;
  };
  explicit StepMounter(Parts parts) : parts_(std::move(parts)) {}

  Result<StepMounts> Make(const std::vector<PlannedMount>& planned);

 private:
  Result<> MakeMount(const PlannedMount& planned, StepMounts* out);
  Result<> MakeBind(const PlannedMount& planned, StepMounts* out);
  Result<> MakeCacheMount(const PlannedMount& planned, StepMounts* out);
  Result<> MakeSecret(const PlannedMount& planned, StepMounts* out);
  Result<> MakeAgent(const PlannedMount& planned, StepMounts* out);
  // A fresh mount of the tree: read only, or one whose changes are thrown away.
  Result<UniqueFd> MountTree(const SourceTree& tree, bool read_only, StepMounts* out);

  const Parts parts_;
};

}  // namespace gantry::build
