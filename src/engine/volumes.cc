// SPDX-License-Identifier: Apache-2.0
//
// Volumes as the API asks for them: made, removed, pruned, each with its event.
#include "volumes/volumes.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr size_t kMadeUpNameBytes = 32;

}  // namespace

void Engine::PublishVolume(std::string_view action, const std::string& name,
                           std::map<std::string, std::string> attributes) {
  Publish(VolumeEvent(action, name, std::move(attributes)));
}

Result<volumes::Volume> Engine::CreateVolume(volumes::CreateRequest request) {
  if (request.name.empty()) {
    request.name = RandomHex(kMadeUpNameBytes);
    request.labels[std::string(volumes::kAnonymousLabel)] = "";
  }
  // One that is there already gives no event and needs no record of one.
  bool is_new = !volumes_->Get(request.name).ok();
  Event intent = VolumeEvent("create", request.name, {{"driver", volumes::Volume().driver}});
  if (is_new) TRY(store_->untold().Put(intent));
  auto created = volumes_->Create(request);
  if (created.ok() && created->is_new) Publish(intent);
  store_->untold().Done(intent);
  return std::move(TRY(std::move(created)).volume);
}

Result<> Engine::RemoveVolume(const std::string& name) {
  Event event = VolumeEvent("destroy", name, {{"driver", "local"}});
  TRY(volumes_->Get(name));
  TRY(store_->untold().Put(event));
  Result<> removed = volumes_->Remove(name);
  if (!removed.ok()) {
    store_->untold().Done(event);
    return removed;
  }
  Publish(std::move(event));
  return {};
}

Result<Engine::PrunedVolumes> Engine::PruneVolumes(
    const std::function<bool(const volumes::Volume&)>& wanted) {
  PrunedVolumes pruned;
  for (const volumes::Volume& volume : volumes_->List()) {
    if (!volume.options.empty() || !wanted(volume)) continue;
    if (!volumes_->UsersOf(volume.name).empty()) continue;
    Result<int64_t> size = volumes_->SizeOf(volume.name);
    Result<> removed = RemoveVolume(volume.name);
    if (!removed.ok()) {
      // A container came meanwhile, or somebody else was faster.
      log::Warning("pruning: {}", removed.error().message());
      continue;
    }
    pruned.names.push_back(volume.name);
    pruned.bytes += std::move(size).value_or(0);
  }
  PublishVolume("prune", "", {{"reclaimed", std::to_string(pruned.bytes)}});
  return pruned;
}

}  // namespace gantry::engine
