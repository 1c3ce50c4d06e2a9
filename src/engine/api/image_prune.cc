// SPDX-License-Identifier: Apache-2.0
#include "engine/api/image_prune.h"

#include <utility>

#include "base/log.h"
#include "base/undo.h"
#include "engine/api/filters.h"
#include "engine/api/image_list.h"
#include "engine/image_holds.h"
#include "engine/image_usage.h"
#include "engine/images.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// A name at a time, so that one that is used again meanwhile stands only in its own way.
void Prune(Call& call, const ImageUsage& image, Json* deleted) {
  std::vector<std::string> names = image.tags;
  if (names.empty()) names = {image.id()};
  for (const std::string& name : names) {
    Result<std::vector<RemovedImage>> removed =
        engine::RemoveImage(call.engine(), name, names.size() == 1 && image.tags.empty());
    if (!removed.ok()) {
      log::Debug("pruning '{}': {}", name, removed.error().message());
      continue;
    }
    for (const RemovedImage& one : *removed) {
      deleted->Append(Json::MakeObject({{one.deleted ? "Deleted" : "Untagged", one.name}}));
    }
  }
}

}  // namespace

Result<> PruneImages(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"dangling", "label", "label!", "until"}));
  bool dangling_only = TRY(DanglingFilter(filters)).value_or(true);
  std::optional<WallTime> until = TRY(UntilFilter(filters));
  ImageUsages before = TRY(ListImageUsage(call.engine()));
  Json deleted;
  for (const ImageUsage& image : before.images) {
    if (image.containers > 0 || (dangling_only && !image.dangling())) continue;
    if (until && image.created() >= *until) continue;
    const auto& labels = image.documents->config.config.labels;
    if (!filters.MatchLabels("label", labels)) continue;
    if (filters.Has("label!") && filters.MatchLabels("label!", labels)) continue;
    ImageHolds& holds = call.engine().image_holds();
    if (!holds.BeginRemoval(image.id())) continue;  // a build or a new container has it
    Undo end;
    end.Push([&] { holds.EndRemoval(image.id()); });
    Prune(call, image, &deleted);
  }
  int64_t left = TRY(ListImageUsage(call.engine())).disk_bytes;
  int64_t reclaimed = deleted.is_null() ? 0 : std::max<int64_t>(0, before.disk_bytes - left);
  Event event;
  event.type = "image";
  event.action = "prune";
  event.attributes["reclaimed"] = std::to_string(reclaimed);
  call.engine().Publish(std::move(event));
  return RespondJson(
      call, 200,
      Json::MakeObject({{"ImagesDeleted", std::move(deleted)}, {"SpaceReclaimed", reclaimed}}));
}

}  // namespace gantry::engine::api
