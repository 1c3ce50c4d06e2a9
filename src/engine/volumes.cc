// SPDX-License-Identifier: Apache-2.0
//
// Volumes as the API asks for them: made, removed, pruned, each with its event.
#include "volumes/volumes.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "engine/engine.h"

namespace gantry::engine {
namespace {

constexpr size_t kMadeUpNameBytes = 32;

}  // namespace

void Engine::PublishVolume(std::string_view action, const std::string& name,
                           std::map<std::string, std::string> attributes) {
  Event event;
  event.type = "volume";
  event.action = action;
  event.actor_id = name;
  event.attributes = std::move(attributes);
  Publish(std::move(event));
}

Result<volumes::Volume> Engine::CreateVolume(volumes::CreateRequest request) {
  if (request.name.empty()) {
    request.name = RandomHex(kMadeUpNameBytes);
    request.labels[std::string(volumes::kAnonymousLabel)] = "";
  }
  volumes::Volumes::Created created = TRY(volumes_->Create(request));
  if (created.is_new) {
    PublishVolume("create", created.volume.name, {{"driver", created.volume.driver}});
  }
  return std::move(created.volume);
}

Result<> Engine::RemoveVolume(const std::string& name) {
  TRY(volumes_->Remove(name));
  PublishVolume("destroy", name, {{"driver", "local"}});
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
