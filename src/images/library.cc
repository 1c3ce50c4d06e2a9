// SPDX-License-Identifier: Apache-2.0
#include "images/library.h"

namespace gantry::images {

Labels ReferenceLabels(const oci::Manifest& manifest) {
  Labels labels;
  labels["containerd.io/gc.ref.content.config"] = manifest.config.digest.text();
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    labels[fmt::format("containerd.io/gc.ref.content.l.{}", i)] = manifest.layers[i].digest.text();
  }
  return labels;
}

Labels ReferenceLabels(const oci::Index& index) {
  Labels labels;
  for (size_t i = 0; i < index.manifests.size(); ++i) {
    labels[fmt::format("containerd.io/gc.ref.content.m.{}", i)] = index.manifests[i].digest.text();
  }
  return labels;
}

Result<ResolvedManifest> ResolveManifest(const content::BlobStore& blobs,
                                         const oci::Descriptor& target,
                                         const oci::Platform& wanted) {
  oci::Descriptor descriptor = target;
  for (int depth = 0; depth < kMaxIndexDepth; ++depth) {
    std::string text = TRY(blobs.ReadBlob(descriptor.digest, oci::kMaxDocumentBytes));
    if (!oci::IsIndex(descriptor.media_type)) {
      oci::Manifest manifest = TRY_WITH(oci::ParseManifest(text, descriptor.media_type),
                                        "reading {}", descriptor.digest.text());
      return ResolvedManifest{std::move(descriptor), std::move(manifest)};
    }
    oci::Index index = TRY_WITH(oci::ParseIndex(text, descriptor.media_type), "reading {}",
                                descriptor.digest.text());
    descriptor = TRY(oci::SelectPlatform(index, wanted));
  }
  return InvalidArgument("reading {}: indexes within indexes", target.digest.text());
}

}  // namespace gantry::images
