// SPDX-License-Identifier: Apache-2.0
#include "engine/api/usage_handlers.h"

#include <set>
#include <utility>

#include "engine/api/container_json.h"
#include "engine/api/image_json.h"
#include "engine/api/volume_handlers.h"
#include "engine/image_usage.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr int kSplitMinor = 52;  // from 1.52 on a summary for each kind

// A kind's items, and how much of it there is, is used and could go.
struct Kind {
  Json items = Json::MakeArray();
  int64_t active = 0;
  int64_t total_size = 0;
  int64_t reclaimable = 0;

  Json Summary(bool verbose) const {
    Json out = Json::MakeObject({{"ActiveCount", active},
                                 {"TotalCount", static_cast<int64_t>(items.size())},
                                 {"Reclaimable", reclaimable},
                                 {"TotalSize", total_size}});
    if (verbose) out.Set("Items", items);
    return out;
  }
};

Result<Kind> Images(Call& call) {
  ImageUsages usages = TRY(ListImageUsage(call.engine()));
  Kind out;
  out.total_size = usages.disk_bytes;
  out.reclaimable = usages.unused_bytes;
  for (const ImageUsage& image : usages.images) {
    if (image.containers > 0) ++out.active;
    out.items.Append(ImageSummary(image, image.shared));
  }
  return out;
}

Kind Containers(Call& call) {
  WallTime now = WallClock::now();
  Kind out;
  for (const auto& record : call.engine().List()) {
    Json entry = ListObject(call.engine(), *record, now);
    int64_t size = AddSizes(call.engine(), *record, &entry);
    out.total_size += size;
    if (record->state.IsAlive()) {
      ++out.active;
    } else {
      out.reclaimable += size;
    }
    out.items.Append(std::move(entry));
  }
  return out;
}

Kind AllVolumes(Call& call) {
  const volumes::Volumes& volumes = call.engine().volumes();
  Kind out;
  for (const volumes::Volume& volume : volumes.List()) {
    int64_t users = static_cast<int64_t>(volumes.UsersOf(volume.name).size());
    // Of one that is not mounted now nobody knows.
    int64_t size = volumes.SizeOf(volume.name).value_or(-1);
    Json entry = VolumeDocument(volumes, volume);
    entry.Set("UsageData", Json::MakeObject({{"RefCount", users}, {"Size", size}}));
    if (users > 0) ++out.active;
    if (size > 0) {
      out.total_size += size;
      if (users == 0) out.reclaimable += size;
    }
    out.items.Append(std::move(entry));
  }
  return out;
}

Kind BuildCache(Call& call) {
  Kind out;
  for (const build::CachedStep& step : call.parts.builds.cache().List()) {
    out.total_size += step.size;
    if (step.in_use) {
      ++out.active;
    } else {
      out.reclaimable += step.size;
    }
    out.items.Append(Json::MakeObject({{"ID", step.key},
                                       {"Parents", Json(std::vector<std::string>{step.parent})},
                                       {"Type", step.type()},
                                       {"Description", step.description},
                                       {"InUse", step.in_use},
                                       {"Shared", false},
                                       {"Size", step.size},
                                       {"CreatedAt", FormatRfc3339Nano(step.created_at)},
                                       {"LastUsedAt", FormatRfc3339Nano(step.used_at)},
                                       {"UsageCount", step.uses}}));
  }
  return out;
}

// Which kinds the client asks for: all without "type".
Result<std::set<std::string>> WantedKinds(Call& call) {
  std::set<std::string> wanted;
  for (const std::string& type : call.query().GetAll("type")) {
    static const std::set<std::string> kKnown = {"container", "image", "volume", "build-cache"};
    if (!kKnown.contains(type)) return InvalidArgument("unknown object type: {}", type);
    wanted.insert(type);
  }
  if (wanted.empty() || call.minor < 42) wanted = {"container", "image", "volume", "build-cache"};
  return wanted;
}

}  // namespace

Result<> GetDiskUsage(Call& call) {
  std::set<std::string> wanted = TRY(WantedKinds(call));
  bool verbose = call.query().GetBool("verbose");
  bool legacy = call.minor < kSplitMinor || (call.minor == kSplitMinor && !verbose);
  Json out = Json::MakeObject();
  auto add = [&](const char* list, const char* summary, const Kind& kind) {
    if (legacy) out.Set(list, kind.items);
    out.Set(summary, kind.Summary(verbose));
  };
  if (wanted.contains("image")) {
    Kind images = TRY(Images(call));
    if (legacy) out.Set("LayersSize", images.total_size);
    add("Images", "ImageUsage", images);
  }
  if (wanted.contains("container")) add("Containers", "ContainerUsage", Containers(call));
  if (wanted.contains("volume")) add("Volumes", "VolumeUsage", AllVolumes(call));
  if (wanted.contains("build-cache")) {
    Kind cache = BuildCache(call);
    add("BuildCache", "BuildCacheUsage", cache);
    out.Set("BuilderSize", cache.total_size);
  }
  return RespondJson(call, 200, std::move(out));
}

}  // namespace gantry::engine::api
