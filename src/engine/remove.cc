// SPDX-License-Identifier: Apache-2.0
//
// DELETE /containers/{id}, and the end of --rm. The record says "removing" before anything is
// deleted; name and volumes are free, nobody finds it any more and waiters are answered at once,
// the rest follows: the task, the writable layer, the directories. What a crash cuts off there, or
// an error, the next comparison takes up (reconcile.cc), or another DELETE by its id.
#include <memory>
#include <optional>
#include <utility>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/host_files.h"
#include "engine/links.h"
#include "engine/store.h"

namespace gantry::engine {

Result<> Engine::Remove(std::string_view reference, RemoveOptions options) {
  auto container = TRY(FindAny(reference));
  Container::RecordPointer record = container->record();
  if (record->state.phase == Phase::kRemoving) {
    auto idle = container->TakeTurn(std::chrono::milliseconds(0));
    // An earlier removal that failed half way is taken up again.
    if (idle.ok()) return FinishRemoval(*record);
    if (container->removed()) return NotFound("No such container: {}", reference);
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
    container->Update([&](ContainerRecord& changed) {
      changed.state.stopped_by_user = true;
      changed.state.removed_at_end = true;
      changed.state.removes_volumes = options.volumes || changed.host.auto_remove;
    });
    Result<> stopped = KillAlive(*container);
    if (!stopped.ok()) {
      container->Update([](ContainerRecord& changed) { changed.state.removed_at_end = false; });
      return stopped;
    }
  }
  std::optional<Container::Turn> turn = TRY(container->TakeTurnUnlessRemoved());
  if (!turn) return {};  // its end has done it
  container->Update([&](ContainerRecord& changed) {
    changed.state.removes_volumes = options.volumes || changed.host.auto_remove;
  });
  TRY(BeginRemoval(*container));
  FinishLater(std::move(container), *std::move(turn));
  return {};
}

Result<> Engine::RemoveLink(std::string_view link) {
  std::string_view name = link.starts_with('/') ? link.substr(1) : link;
  size_t slash = name.rfind('/');
  if (slash == std::string_view::npos) {
    TRY(Find(name));
    return MakeError(ErrorKind::kAborted,
                     "Conflict, cannot remove the default link name of the container");
  }
  auto parent = Find(name.substr(0, slash));
  if (!parent.ok()) return NotFound("No such container: {}", link);
  auto turn = TRY((*parent)->TakeTurn());
  std::vector<LinkedContainer> former;
  std::vector<std::string> rest;
  for (const std::string& text : (*parent)->record()->host.links) {
    auto [child, alias] = ParseLink(text);
    auto linked = Find(child);
    if (alias != name.substr(slash + 1)) {
      rest.push_back(text);
    } else if (linked.ok()) {
      former.push_back({alias, (*linked)->record(), {}});
    }
  }
  if (rest.size() == (*parent)->record()->host.links.size()) {
    return NotFound("No such container: {}", link);
  }
  (*parent)->Update([&](ContainerRecord& record) { record.host.links = rest; });
  TRY(Save(**parent));
  Container::RecordPointer record = (*parent)->record();
  if (!record->state.IsAlive()) return {};
  TRY(networks_->SetReach(record->id, LinkedIds(*record)));
  auto files = HostFilesOf(*record);
  // As for UpdateHostFiles: another one that it is linked to has ended.
  if (!files.ok() && files.error().kind() == ErrorKind::kAborted) return {};
  HostFilesRequest changed = TRY(std::move(files));
  // Without an endpoint, and so without lines.
  for (LinkedContainer& gone : former) changed.links.push_back(std::move(gone));
  return ChangeHostFiles(changed);
}

Result<> Engine::RemoveWithTurn(Container& container) {
  TRY(BeginRemoval(container));
  return FinishRemoval(*container.record());
}

// What is left after the answer needs the turn and no client.
void Engine::FinishLater(std::shared_ptr<Container> container, Container::Turn turn) {
  // The turn is given back before the container goes.
  auto held = std::make_shared<std::pair<std::shared_ptr<Container>, Container::Turn>>(
      std::move(container), std::move(turn));
  workers_.Run([this, held] {
    Container::RecordPointer record = held->first->record();
    Result<> finished = FinishRemoval(*record);
    if (!finished.ok()) log::Failure("removing {}: {}", record->id, finished.error().message());
  });
}

// The whole removal as a client sees it: the record says so, its name and volumes are free.
Result<> Engine::BeginRemoval(Container& container) {
  ActionTimer timer(action_times_, "delete");
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
  if (options_.removed) options_.removed(record->id);
  container.NotifyRemoved();
  timer.Done();
  return {};
}

Result<> Engine::FinishRemoval(const ContainerRecord& record) {
  const std::string& id = record.id;
  TRY(CleanTask(id));
  DropSharedMemory(record);
  Result<> detached = networks_->Detach(id);
  if (!detached.ok()) log::Warning("container {}: {}", id, detached.error().message());
  Result<> snapshot = containerd_->RemoveSnapshot(options_.snapshotter, id);
  if (!snapshot.ok() && snapshot.error().kind() != ErrorKind::kNotFound) {
    return std::move(snapshot).error().AddContext(
        fmt::format("removing the writable layer of {}", id));
  }
  ForwardLog(record, false);
  TRY(RemoveMountsOf(record));
  TRY(Discard(ContainerDirectory(id)));
  TRY(store_->EraseContainer(id, record.image_id));
  Forget(record);
  return {};
}

}  // namespace gantry::engine
