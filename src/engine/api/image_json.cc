// SPDX-License-Identifier: Apache-2.0
#include "engine/api/image_json.h"

#include <utility>

namespace gantry::engine::api {

using formats::Json;

Json StringsOrEmpty(const std::vector<std::string>& strings) {
  return strings.empty() ? Json::MakeArray() : Json(strings);
}

Json DescriptorJson(const client::Descriptor& descriptor) {
  return Json::MakeObject({{"mediaType", descriptor.media_type},
                           {"digest", descriptor.digest},
                           {"size", descriptor.size}});
}

Json ImageSummary(const ImageUsage& image, int64_t shared) {
  const ImageDocuments& documents = *image.documents;
  const auto& labels = documents.config.config.labels;
  int64_t created = image.created() == WallTime{} ? 0 : UnixNanos(image.created()) / 1'000'000'000;
  return Json::MakeObject({{"Containers", image.containers},
                           {"Created", created},
                           {"Descriptor", DescriptorJson(image.target)},
                           {"Id", documents.id},
                           {"Labels", labels.empty() ? Json() : Json(labels)},
                           {"ParentId", ""},
                           {"RepoDigests", StringsOrEmpty(image.digests)},
                           {"RepoTags", StringsOrEmpty(image.tags)},
                           {"SharedSize", shared},
                           {"Size", image.disk->total},
                           {"VirtualSize", image.disk->total}});
}

}  // namespace gantry::engine::api
