// SPDX-License-Identifier: Apache-2.0
#include "build/snapshot_views.h"

#include "base/log.h"
#include "build/cache.h"
#include "engine/root_view.h"

namespace gantry::build {

SnapshotViews::~SnapshotViews() {
  MutexLock lock(mutex_);
  for (auto& [chain_id, view] : views_) {
    view.root.Reset();
    if (view.snapshot.empty()) continue;
    Result<> removed =
        engine_.containerd().RemoveSnapshot(engine_.options().snapshotter, view.snapshot);
    if (removed.ok() || removed.error().kind() == ErrorKind::kNotFound) continue;
    log::Warning("removing snapshot {}: {}", view.snapshot, removed.error().message());
  }
}

Result<BorrowedFd> SnapshotViews::Open(const std::string& chain_id) {
  if (chain_id.empty()) return InvalidArgument("an image without files has none to copy");
  MutexLock lock(mutex_);
  View& view = views_[chain_id];
  if (view.root.valid()) return BorrowedFd(view.root);
  client::Containerd& containerd = engine_.containerd();
  view.lease.emplace(TRY(engine::Lease::TakeLasting(containerd, kLeasePrefix)));
  view.snapshot = view.lease->id() + "-view";
  auto mounts = TRY(containerd.ViewSnapshot(engine_.options().snapshotter, view.snapshot, chain_id,
                                            {}, view.lease->id()));
  if (mounts.empty()) return Internal("snapshot {} has no files", chain_id);
  view.root = TRY(engine::OpenReadOnlyView(mounts[0]));
  return BorrowedFd(view.root);
}

Result<UniqueFd> SnapshotViews::OpenAnother(const std::string& chain_id) {
  TRY(Open(chain_id));
  std::string snapshot;
  {
    MutexLock lock(mutex_);
    snapshot = views_[chain_id].snapshot;
  }
  auto mounts = TRY(engine_.containerd().SnapshotMounts(engine_.options().snapshotter, snapshot));
  if (mounts.empty()) return Internal("snapshot {} has no files", chain_id);
  return engine::OpenReadOnlyView(mounts[0]);
}

}  // namespace gantry::build
