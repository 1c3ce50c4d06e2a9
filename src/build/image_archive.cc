// SPDX-License-Identifier: Apache-2.0
#include "build/image_archive.h"

#include <set>
#include <utility>

#include "engine/dangling.h"
#include "engine/image_index.h"
#include "engine/images.h"
#include "engine/new_image.h"
#include "formats/digest.h"
#include "formats/json.h"
#include "formats/reference.h"
#include "formats/tar.h"
#include "oci/image_spec.h"

namespace gantry::build {
namespace {

using formats::Json;

std::string BlobPath(const client::Descriptor& blob) {
  std::string path = "blobs/" + blob.digest;
  path[path.find(':')] = '/';
  return path;
}

Result<> WriteDirectory(formats::TarWriter& tar, const std::string& name) {
  return tar.WriteHeader({.type = formats::TarType::kDirectory, .name = name + "/", .mode = 0755});
}

Result<> WriteText(formats::TarWriter& tar, const std::string& name, const std::string& text) {
  formats::TarEntry entry;
  entry.name = name;
  return tar.WriteFile(std::move(entry), text);
}

Json IndexOf(const ImageSet& set, const std::vector<std::string>& names) {
  Json entry = engine::DescriptorJson(set.root);
  Json manifests = Json::MakeArray();
  if (!set.root_annotations.empty()) entry.Set("annotations", Json(set.root_annotations));
  for (const std::string& name : names) {
    auto reference = formats::ParseReference(name);
    Json annotations(set.root_annotations);
    annotations.Set("io.containerd.image.name", name);
    if (reference.ok()) annotations.Set("org.opencontainers.image.ref.name", reference->tag);
    Json named = entry;
    named.Set("annotations", std::move(annotations));
    manifests.Append(std::move(named));
  }
  if (names.empty()) manifests.Append(std::move(entry));
  return Json::MakeObject(
      {{"schemaVersion", 2}, {"mediaType", oci::kOciIndex}, {"manifests", std::move(manifests)}});
}

// docker's manifest.json.
Json DockerManifest(const ImageSet& set, const std::vector<std::string>& names) {
  Json tags = Json::MakeArray();
  for (const std::string& name : names) tags.Append(engine::FamiliarName(name));
  Json list = Json::MakeArray();
  for (const ImageDocumentsOf& image : set.images) {
    Json layers = Json::MakeArray();
    for (const client::Descriptor& layer : image.layers) layers.Append(BlobPath(layer));
    list.Append(Json::MakeObject({{"Config", BlobPath(image.config_descriptor)},
                                  {"RepoTags", names.empty() ? Json() : tags},
                                  {"Layers", std::move(layers)}}));
  }
  return list;
}

}  // namespace

Result<> WriteImageArchive(engine::Engine& engine, const ImageSet& set, ArchiveKind kind,
                           const std::vector<std::string>& names, ByteSink& sink) {
  formats::TarWriter tar(sink);
  TRY(WriteDirectory(tar, "blobs"));
  TRY(WriteDirectory(tar, "blobs/sha256"));
  std::set<std::string> written;
  for (const ImageDocumentsOf& image : set.images) {
    for (const client::Descriptor& layer : image.layers) {
      if (!written.insert(layer.digest).second) continue;
      formats::TarEntry entry;
      entry.name = BlobPath(layer);
      entry.size = static_cast<uint64_t>(layer.size);
      TRY(tar.WriteHeader(entry));
      TRY_WITH(engine.containerd().ReadBlobPart(
                   layer.digest, 0, entry.size,
                   [&](std::string_view piece) { return tar.WriteData(piece); }),
               "exporting layer {}", layer.digest);
    }
  }
  for (const SetDocument& document : set.documents) {
    if (!written.insert(document.descriptor.digest).second) continue;
    TRY(WriteText(tar, BlobPath(document.descriptor), document.text));
  }
  TRY(WriteText(tar, "index.json", IndexOf(set, names).Dump()));
  if (kind == ArchiveKind::kDocker) {
    TRY(WriteText(tar, "manifest.json", DockerManifest(set, names).Dump()));
  }
  TRY(WriteText(tar, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  return tar.Finish();
}

}  // namespace gantry::build
