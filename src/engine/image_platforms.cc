// SPDX-License-Identifier: Apache-2.0
#include "engine/image_platforms.h"

#include <utility>

namespace gantry::engine {

Result<std::vector<PlatformImage>> ListPlatforms(Engine& engine, const client::Descriptor& target) {
  std::vector<PlatformImage> out;
  if (!oci::IsIndex(target.media_type)) {
    PlatformImage only;
    only.documents = TRY(engine.images().ReadManifest(target));
    only.descriptor.media_type = target.media_type;
    only.descriptor.digest = TRY(formats::Digest::Parse(target.digest));
    only.descriptor.size = target.size;
    out.push_back(std::move(only));
    return out;
  }
  std::string text = TRY(engine.containerd().ReadBlob(target.digest, oci::kMaxDocumentBytes));
  oci::Index index = TRY(oci::ParseIndex(text, target.media_type));
  ImageIndex::Kept kept = TRY(engine.images().KeptBy(target.digest));
  for (const oci::Descriptor& descriptor : index.manifests) {
    if (!kept.Contains(descriptor.digest.text())) {
      out.push_back({descriptor, oci::IsAttestation(descriptor), nullptr});
      continue;
    }
    auto documents = engine.images().ReadManifest(
        {descriptor.media_type, descriptor.digest.text(), descriptor.size});
    if (!documents.ok() && documents.error().kind() != ErrorKind::kNotFound) {
      return std::move(documents).error();
    }
    out.push_back({descriptor, oci::IsAttestation(descriptor),
                   documents.ok() ? *std::move(documents) : nullptr});
  }
  return out;
}

}  // namespace gantry::engine
