// SPDX-License-Identifier: Apache-2.0
//
// What a step of a build has made as a layer, and its record in the cache. Everything is made under
// the step's lease, which from then on lives as long as the record. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "build/cache.h"
#include "build/cache_transfer.h"
#include "build/context.h"
#include "build/stage_state.h"
#include "build/step_mounts.h"
#include "engine/engine.h"
#include "engine/new_image.h"

namespace gantry::build {

// What has become of a writable snapshot on top of a chain as the next layer: the snapshot itself
// is the layer's from now on. No time in it is later than `epoch`, seconds since 1970.
Result<std::optional<engine::NewLayer>> CommitLayer(engine::Engine& engine,
                                                    const engine::Lease& lease,
                                                    const std::string& snapshot,
                                                    const std::string& chain_id,
                                                    std::optional<int64_t> epoch);

// The same of a new snapshot whose files `change` makes.
Result<std::optional<engine::NewLayer>> ChangeSnapshot(
    engine::Engine& engine, const engine::Lease& lease, const std::string& chain_id,
    std::optional<int64_t> epoch, const std::function<Result<>(BorrowedFd root)>& change);

struct StepRecord {
  std::string key;
  std::string created_by;
  std::optional<engine::NewLayer> layer;
  std::optional<engine::Lease> lease;
  std::optional<int64_t> epoch;  // the step's time, seconds since 1970; unset: now
};
// One more step of `state`, in the cache as well.
Result<> RememberStep(engine::Engine& engine, Cache::User& cache, StepRecord record,
                      StageState* state);

struct StepImports {
  engine::Engine& engine;
  Cache::User& cache;
  Context& context;  // has room for layers
  const std::vector<std::shared_ptr<const CacheImport>>& caches;
};
// The next step of `state` from a cache of another machine, into the engine's own; nothing where
// none has it.
Result<std::optional<CachedStep>> ImportStep(const StepImports& from, const std::string& key,
                                             const std::string& created_by,
                                             const StageState& state);

// What the runtime will make in the files of a container that has not run yet: missing targets of
// `mounts`, and of the files that every container gets.
Result<TargetStubs> NoteStubs(engine::Engine& engine, const std::string& snapshot,
                              std::vector<PlannedMount> mounts);
// Takes that from its files again, once it has run.
Result<> RemoveStubs(engine::Engine& engine, const TargetStubs& stubs, const std::string& snapshot);

}  // namespace gantry::build
