// SPDX-License-Identifier: Apache-2.0
//
// DELETE /containers/{id}, and the end of --rm. The record says "removing" before anything is
// deleted; the name is free and waiters are answered at once, the rest follows.
#include "base/log.h"
#include "engine/engine.h"
#include "engine/store.h"

namespace gantry::engine {

Result<> Engine::Remove(std::string_view reference, RemoveOptions options) {
  auto container = TRY(Find(reference));
  Container::RecordPointer record = container->record();
  if (record->state.phase == Phase::kRemoving) {
    auto idle = container->TakeTurn(std::chrono::milliseconds(0));
    // An earlier removal that failed half way is taken up again.
    if (idle.ok()) return FinishRemoval(*record);
    return MakeError(ErrorKind::kAborted, "removal of container {} is already in progress",
                     reference);
  }
  bool alive = record->state.IsAlive() || record->state.phase == Phase::kStarting;
  if ((alive || record->state.phase == Phase::kRestarting) && !options.force) {
    return MakeError(ErrorKind::kAborted,
                     "cannot remove container \"/{}\": container is {}: stop the container before "
                     "removing or force remove",
                     record->name, PhaseName(record->state.phase));
  }
  if (alive) {
    container->Update([](ContainerRecord& changed) { changed.state.stopped_by_user = true; });
    TRY(StopAlive(*container, 0, "KILL"));
  }
  auto turn = TRY(container->TakeTurn());
  // --rm may have been faster.
  if (container->record()->state.phase == Phase::kRemoving) return {};
  container->Update([&](ContainerRecord& changed) {
    changed.state.removes_volumes = options.volumes || changed.host.auto_remove;
  });
  return RemoveWithTurn(*container);
}

Result<> Engine::RemoveWithTurn(Container& container) {
  container.Update([](ContainerRecord& record) {
    record.state.phase = Phase::kRemoving;
    record.state.removes_volumes = record.state.removes_volumes || record.host.auto_remove;
  });
  Container::RecordPointer record = container.record();
  TRY(Save(container));
  ReleaseName(record->name, record->id);
  // Before anybody hears of it: the volumes are free then. A failure comes again, below.
  Result<> released = ReleaseVolumes(*record);
  if (!released.ok()) log::Debug("removing {}: {}", record->id, released.error().message());
  Publish("destroy", *record);
  container.NotifyRemoved();
  return FinishRemoval(*record);
}

Result<> Engine::FinishRemoval(const ContainerRecord& record) {
  const std::string& id = record.id;
  TRY(CleanTask(id));
  Result<> detached = networks_->Detach(id);
  if (!detached.ok()) log::Warning("container {}: {}", id, detached.error().message());
  Result<> snapshot = containerd_->RemoveSnapshot(options_.snapshotter, id);
  if (!snapshot.ok() && snapshot.error().kind() != ErrorKind::kNotFound) {
    return std::move(snapshot).error().AddContext(
        fmt::format("removing the writable layer of {}", id));
  }
  TRY(RemoveMountsOf(record));
  TRY(Discard(ContainerDirectory(id)));
  TRY(store_->EraseContainer(id));
  Forget(record);
  return {};
}

}  // namespace gantry::engine
