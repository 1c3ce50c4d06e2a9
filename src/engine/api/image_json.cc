// SPDX-License-Identifier: Apache-2.0
#include "engine/api/image_json.h"

#include <utility>

#include "engine/image_platforms.h"
#include "engine/new_image.h"
#include "oci/image_spec.h"

namespace gantry::engine::api {

using formats::Json;

Json StringsOrEmpty(const std::vector<std::string>& strings) {
  return strings.empty() ? Json::MakeArray() : Json(strings);
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

namespace {

Result<Json> ManifestJson(Engine& engine, const PlatformImage& image) {
  const oci::Descriptor& descriptor = image.descriptor;
  std::string digest = descriptor.digest.text();
  int64_t total = 0;
  int64_t unpacked = 0;
  if (image.documents && !image.attestation) {
    auto disk = TRY(engine.image_sizes().Of(*image.documents));
    total = disk->total;
    unpacked = disk->root;
  }
  Json out = Json::MakeObject(
      {{"ID", digest},
       {"Descriptor", DescriptorJson({descriptor.media_type, digest, descriptor.size})},
       {"Available", image.documents != nullptr},
       {"Size", Json::MakeObject({{"Content", total - unpacked}, {"Total", total}})},
       {"Kind", image.attestation ? "attestation" : "image"}});
  if (image.attestation) {
    auto subject = descriptor.annotations.find("vnd.docker.reference.digest");
    std::string of = subject == descriptor.annotations.end() ? "" : subject->second;
    out.Set("AttestationData", Json::MakeObject({{"For", of}}));
    return out;
  }
  oci::Platform platform;
  if (image.documents) platform = image.documents->config.platform;
  if (descriptor.platform) platform = *descriptor.platform;
  Json containers = Json::MakeArray();
  for (const auto& record : engine.List()) {
    if (image.documents && record->image_id == image.documents->id) containers.Append(record->id);
  }
  out.Set("ImageData", Json::MakeObject({{"Platform", oci::ToJson(platform)},
                                         {"Size", Json::MakeObject({{"Unpacked", unpacked}})},
                                         {"Containers", std::move(containers)}}));
  return out;
}

}  // namespace

Result<Json> ManifestsJson(Engine& engine, const client::Descriptor& target) {
  Json out = Json::MakeArray();
  for (const PlatformImage& image : TRY(ListPlatforms(engine, target))) {
    out.Append(TRY(ManifestJson(engine, image)));
  }
  return out;
}

}  // namespace gantry::engine::api
