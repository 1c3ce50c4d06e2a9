// SPDX-License-Identifier: Apache-2.0
#include "engine/image_usage.h"

#include <algorithm>
#include <map>
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
    auto found = by_id.find(record->image_id);
    if (found != by_id.end()) ++found->second.containers;
  }
  struct Layer {
    int64_t size = 0;
    int images = 0;
  };
  // A layer that an image has twice counts once for it.
  std::map<std::string, Layer> layers;
  auto layers_of = [](const ImageUsage& usage) {
    std::map<std::string, int64_t> out;
    for (const oci::Descriptor& layer : usage.documents->manifest.layers) {
      out[std::string(layer.digest.text())] = layer.size;
    }
    return out;
  };
  for (const auto& [id, usage] : by_id) {
    for (const auto& [digest, size] : layers_of(usage)) {
      layers[digest].size = size;
      ++layers[digest].images;
    }
  }
  ImageUsages out;
  for (const auto& [digest, layer] : layers) out.layer_bytes += layer.size;
  for (auto& [id, usage] : by_id) {
    for (const auto& [digest, size] : layers_of(usage)) {
      if (layers[digest].images > 1) usage.shared += size;
    }
    std::sort(usage.tags.begin(), usage.tags.end());
    out.images.push_back(std::move(usage));
  }
  return out;
}

}  // namespace gantry::engine
