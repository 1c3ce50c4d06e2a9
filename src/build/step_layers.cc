// SPDX-License-Identifier: Apache-2.0
#include "build/step_layers.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "kernel/mounts.h"

namespace gantry::build {
namespace {

constexpr int64_t kNanosOfSecond = 1'000'000'000;
// The engine mounts them over what an image has, as docker does.
constexpr const char* kFilesOfContainers[] = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};

// Of a container's snapshot, as long as the descriptor lives.
Result<UniqueFd> MountFiles(engine::Engine& engine, const std::string& snapshot) {
  auto mounts = TRY(engine.containerd().SnapshotMounts(engine.options().snapshotter, snapshot));
  if (mounts.empty()) return Internal("snapshot {} has no files", snapshot);
  return TRY_WITH(kernel::MountDetached(mounts[0].type, mounts[0].source, mounts[0].options),
                  "mounting the step's files");
}

}  // namespace

Result<std::optional<engine::NewLayer>> CommitLayer(engine::Engine& engine,
                                                    const engine::Lease& lease,
                                                    const std::string& snapshot,
                                                    const std::string& chain_id,
                                                    std::optional<int64_t> epoch) {
  client::Containerd& containerd = engine.containerd();
  const std::string& snapshotter = engine.options().snapshotter;
  auto layer = TRY(engine::DiffSnapshot(engine, lease, snapshot, chain_id, epoch));
  if (!layer) return layer;
  if (epoch) {
    // The files here have the layer's times, too.
    TRY(engine::UnpackLayer(engine, lease, chain_id, *layer));
    return layer;
  }
  std::string name = engine::ChainId(chain_id, layer->diff_id);
  Result<> committed = containerd.CommitSnapshot(snapshotter, lease.id(), name, snapshot);
  if (!committed.ok() && committed.error().kind() == ErrorKind::kAlreadyExists) {
    // The very same files were made before.
    committed = containerd.AddToLease(lease.id(), "snapshots/" + snapshotter, name);
  }
  TRY(committed);
  return layer;
}

Result<std::optional<engine::NewLayer>> ChangeSnapshot(
    engine::Engine& engine, const engine::Lease& lease, const std::string& chain_id,
    std::optional<int64_t> epoch, const std::function<Result<>(BorrowedFd root)>& change) {
  client::Containerd& containerd = engine.containerd();
  const std::string& snapshotter = engine.options().snapshotter;
  std::string snapshot = lease.id() + "-files";
  auto mounts =
      TRY_WITH(containerd.PrepareSnapshot(snapshotter, snapshot, chain_id, {}, lease.id()),
               "preparing the writable layer");
  Undo drop;
  drop.Push([&] {
    Result<> removed = containerd.RemoveSnapshot(snapshotter, snapshot);
    // It has become the layer.
    if (removed.ok() || removed.error().kind() == ErrorKind::kNotFound) return;
    log::Warning("removing snapshot {}: {}", snapshot, removed.error().message());
  });
  if (mounts.empty()) return Internal("snapshot {} has no files", snapshot);
  {
    UniqueFd root =
        TRY_WITH(kernel::MountDetached(mounts[0].type, mounts[0].source, mounts[0].options),
                 "mounting the writable layer");
    TRY(change(root));
  }
  return TRY_WITH(CommitLayer(engine, lease, snapshot, chain_id, epoch), "making the layer");
}

Result<> RememberStep(engine::Engine& engine, Cache::User& cache, StepRecord record,
                      StageState* state) {
  CachedStep step;
  step.key = record.key;
  step.parent = state->cache_key;
  step.description = record.created_by;
  step.created_at = step.used_at = WallClock::now();
  step.created = FormatRfc3339Nano(record.epoch ? FromUnixNanos(*record.epoch * kNanosOfSecond)
                                                : step.created_at);
  step.layer = record.layer;
  if (record.layer && record.lease) {
    step.lease = record.lease->id();
    auto usage = TRY(engine.containerd().GetSnapshotUsage(
        engine.options().snapshotter, engine::ChainId(state->chain_id, record.layer->diff_id)));
    step.size = usage.size;
  }
  TRY(cache.Put(step));
  // From here on the record holds it.
  if (record.layer && record.lease) record.lease->Keep();
  AddStep(record.created_by, step.created, record.layer, state);
  state->cache_key = record.key;
  return {};
}

Result<std::optional<CachedStep>> ImportStep(const StepImports& from, const std::string& key,
                                             const std::string& created_by,
                                             const StageState& state) {
  engine::Engine& engine = from.engine;
  for (const auto& import : from.caches) {
    const CacheRecord* record = import->Find(key);
    if (record == nullptr) continue;
    CachedStep step;
    step.key = key;
    step.parent = state.cache_key;
    step.description = created_by;
    step.created = record->created;
    step.created_at = step.used_at = WallClock::now();
    std::optional<engine::Lease> lease;
    if (record->layer >= 0) {
      lease.emplace(TRY(engine::Lease::TakeLasting(engine.containerd(), kLeasePrefix)));
      UniqueFd directory = TRY(from.context.MakeDirectory("layer-" + RandomHex(8)));
      step.layer = TRY_WITH(import->FetchLayer(*record, *lease, directory),
                            "importing from the cache {}", import->name());
      TRY_WITH(engine::UnpackLayer(engine, *lease, state.chain_id, *step.layer),
               "importing from the cache {}", import->name());
      step.lease = lease->id();
      auto usage = TRY(engine.containerd().GetSnapshotUsage(
          engine.options().snapshotter, engine::ChainId(state.chain_id, step.layer->diff_id)));
      step.size = usage.size;
    }
    TRY(from.cache.Put(step));
    // From here on the record holds it.
    if (lease) lease->Keep();
    return std::optional(std::move(step));
  }
  return std::optional<CachedStep>();
}

Result<TargetStubs> NoteStubs(engine::Engine& engine, const std::string& snapshot,
                              std::vector<PlannedMount> mounts) {
  for (const char* file : kFilesOfContainers) mounts.emplace_back().target = file;
  UniqueFd root = TRY(MountFiles(engine, snapshot));
  return TargetStubs::Note(root, mounts);
}

Result<> RemoveStubs(engine::Engine& engine, const TargetStubs& stubs,
                     const std::string& snapshot) {
  if (stubs.empty()) return {};
  UniqueFd root = TRY(MountFiles(engine, snapshot));
  return stubs.Remove(root);
}

}  // namespace gantry::build
