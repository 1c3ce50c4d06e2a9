// SPDX-License-Identifier: Apache-2.0
#include "engine/image_usage.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "engine/dangling.h"
#include "formats/reference.h"

namespace gantry::engine {
namespace {

void AddName(const client::Image& image, ImageUsage* usage) {
  usage->names.push_back(image.name);
  usage->tagged_at = std::max(usage->tagged_at, image.updated_at);
  if (IsDangling(image.name)) return;
  Result<formats::Reference> name = formats::ParseReference(image.name);
  if (!name.ok()) return;  // a nameless image: its store name is no reference
  if (!name->tag.empty()) {
    formats::Reference tagged = *name;
    tagged.digest = {};
    usage->tags.push_back(tagged.Familiar());
  }
  std::string digest = name->FamiliarRepository() + "@" + image.target.digest;
  if (std::find(usage->digests.begin(), usage->digests.end(), digest) == usage->digests.end()) {
    usage->digests.push_back(std::move(digest));
  }
}

}  // namespace

WallTime ImageUsage::created() const {
  Result<WallTime> time = ParseRfc3339(documents->config.created);
  return time.ok() ? *time : WallTime{};
}

Result<ImageUsages> ListImageUsage(Engine& engine) {
  std::map<std::string, ImageUsage> by_id;
  for (const NamedImage& image : TRY(engine.images().List())) {
    ImageUsage& usage = by_id[image.documents->id];
    usage.documents = image.documents;
    usage.target = image.image.target;
    AddName(image.image, &usage);
  }
  for (const auto& record : engine.List()) {
    for (const std::string& id : ImagesOf(*record)) {
      auto found = by_id.find(id);
      if (found != by_id.end()) ++found->second.containers;
    }
  }
  struct Part {
    int64_t bytes = 0;
    int images = 0;
    bool used = false;
  };
  std::unordered_map<std::string_view, Part> parts;
  for (auto& [id, usage] : by_id) {
    usage.disk = TRY(engine.image_sizes().Of(*usage.documents));
    for (const DiskPart& one : usage.disk->parts) {
      Part& part = parts[one.name];
      part.bytes = one.bytes;
      part.used = part.used || usage.containers > 0;
      ++part.images;
    }
  }
  ImageUsages out;
  for (const auto& [name, part] : parts) {
    out.disk_bytes += part.bytes;
    if (!part.used) out.unused_bytes += part.bytes;
  }
  for (auto& [id, usage] : by_id) {
    for (const DiskPart& one : usage.disk->parts) {
      if (parts[one.name].images > 1) usage.shared += one.bytes;
    }
    std::sort(usage.tags.begin(), usage.tags.end());
    out.images.push_back(std::move(usage));
  }
  return out;
}

}  // namespace gantry::engine
