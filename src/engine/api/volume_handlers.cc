// SPDX-License-Identifier: Apache-2.0
#include "engine/api/volume_handlers.h"

#include <optional>
#include <utility>

#include "engine/api/filters.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr int kFirstWithAllFilter = 42;

// docker's booleans in filters: one of them, "1", "t", "true", "0", "f", "false" in any usual case.
Result<std::optional<bool>> BoolFilter(const Filters& filters, std::string_view key) {
  const std::vector<std::string>& values = filters.Values(key);
  if (values.empty()) return std::optional<bool>();
  if (values.size() == 1) {
    const std::string& value = values[0];
    if (value == "1" || value == "t" || value == "T" || value == "true" || value == "TRUE" ||
        value == "True") {
      return std::optional<bool>(true);
    }
    if (value == "0" || value == "f" || value == "F" || value == "false" || value == "FALSE" ||
        value == "False") {
      return std::optional<bool>(false);
    }
  }
  std::string all;
  for (const std::string& value : values) all += (all.empty() ? "" : " ") + value;
  return InvalidArgument("invalid filter '{}=[{}]'", key, all);
}

bool LabelsFit(const Filters& filters, const volumes::Volume& volume) {
  if (!filters.MatchLabels("label", volume.labels)) return false;
  return !filters.Has("label!") || !filters.MatchLabels("label!", volume.labels);
}

Json MapOrNull(const std::map<std::string, std::string>& map, bool shown) {
  if (!map.empty()) return Json(map);
  return shown ? Json::MakeObject() : Json();
}

std::string Seconds(WallTime time) {
  return FormatRfc3339Nano(std::chrono::floor<std::chrono::seconds>(time));
}

}  // namespace

Json VolumeDocument(const volumes::Volumes& volumes, const volumes::Volume& volume) {
  return Json::MakeObject({{"CreatedAt", Seconds(volume.created)},
                           {"Driver", volume.driver},
                           {"Labels", MapOrNull(volume.labels, volume.shows_labels)},
                           {"Mountpoint", volumes.DataPath(volume)},
                           {"Name", volume.name},
                           {"Options", MapOrNull(volume.options, volume.shows_options)},
                           {"Scope", "local"}});
}

Result<> ListVolumes(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"dangling", "driver", "label", "name"}));
  std::optional<bool> dangling = TRY(BoolFilter(filters, "dangling"));
  const volumes::Volumes& volumes = call.engine().volumes();
  Json list = Json::MakeArray();
  for (const volumes::Volume& volume : volumes.List()) {
    if (!filters.MatchExact("driver", volume.driver) || !filters.MatchName(volume.name) ||
        !LabelsFit(filters, volume) ||
        (dangling && *dangling != volumes.UsersOf(volume.name).empty())) {
      continue;
    }
    list.Append(VolumeDocument(volumes, volume));
  }
  return RespondJson(call, 200,
                     Json::MakeObject({{"Volumes", std::move(list)}, {"Warnings", Json()}}));
}

Result<> CreateVolume(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  volumes::CreateRequest request;
  formats::JsonReader reader(body, "", formats::JsonReader::Keys::kAnyCase);
  reader.Field("Name", &request.name);
  reader.Field("Driver", &request.driver);
  reader.Field("DriverOpts", &request.options);
  reader.Field("Labels", &request.labels);
  if (!body.is_null()) TRY(reader.Finish());
  request.shows_options = reader.Raw("DriverOpts") != nullptr;
  request.shows_labels = reader.Raw("Labels") != nullptr;
  if (reader.Raw("ClusterVolumeSpec") != nullptr) {
    return Unavailable(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to "
        "connect this node to swarm and try again.");
  }
  volumes::Volume volume = TRY(call.engine().CreateVolume(std::move(request)));
  return RespondJson(call, 201, VolumeDocument(call.engine().volumes(), volume));
}

Result<> InspectVolume(Call& call) {
  const volumes::Volumes& volumes = call.engine().volumes();
  return RespondJson(call, 200, VolumeDocument(volumes, TRY(volumes.Get(call.arg()))));
}

Result<> RemoveVolume(Call& call) {
  Result<> removed = call.engine().RemoveVolume(call.arg());
  bool gone = !removed.ok() && removed.error().kind() == ErrorKind::kNotFound;
  if (!removed.ok() && !(gone && call.query().GetBool("force"))) return removed;
  return RespondEmpty(call);
}

Result<> PruneVolumes(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"all", "label", "label!"}));
  bool all = TRY(BoolFilter(filters, "all")).value_or(false) || call.minor < kFirstWithAllFilter;
  auto wanted = [&](const volumes::Volume& volume) {
    if (!all && !volume.labels.contains(std::string(volumes::kAnonymousLabel))) return false;
    return LabelsFit(filters, volume);
  };
  Engine::PrunedVolumes pruned = TRY(call.engine().PruneVolumes(wanted));
  Json names = Json::MakeArray();
  for (const std::string& name : pruned.names) names.Append(name);
  return RespondJson(
      call, 200,
      Json::MakeObject({{"VolumesDeleted", std::move(names)}, {"SpaceReclaimed", pruned.bytes}}));
}

}  // namespace gantry::engine::api
