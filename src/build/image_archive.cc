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

client::Descriptor DescriptorOf(const std::string& text, std::string_view type) {
  return {std::string(type), formats::Digest::Of(text).text(), static_cast<int64_t>(text.size())};
}

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

Json IndexOf(const ImageDocumentsOf& image, const std::vector<std::string>& names) {
  Json entry = Json::MakeObject({{"mediaType", image.manifest_descriptor.media_type},
                                 {"digest", image.manifest_descriptor.digest},
                                 {"size", image.manifest_descriptor.size}});
  Json manifests = Json::MakeArray();
  if (!image.descriptor_annotations.empty()) {
    entry.Set("annotations", Json(image.descriptor_annotations));
  }
  for (const std::string& name : names) {
    auto reference = formats::ParseReference(name);
    Json annotations(image.descriptor_annotations);
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
Json DockerManifest(const ImageDocumentsOf& image, const std::vector<std::string>& names) {
  Json tags = Json::MakeArray();
  for (const std::string& name : names) tags.Append(engine::FamiliarName(name));
  Json layers = Json::MakeArray();
  for (const client::Descriptor& layer : image.layers) layers.Append(BlobPath(layer));
  Json list = Json::MakeArray();
  list.Append(Json::MakeObject({{"Config", BlobPath(image.config_descriptor)},
                                {"RepoTags", names.empty() ? Json() : std::move(tags)},
                                {"Layers", std::move(layers)}}));
  return list;
}

}  // namespace

Result<ImageDocumentsOf> DocumentsOf(engine::Engine& engine, const StageState& state,
                                     const engine::Annotations& annotations) {
  ImageDocumentsOf out;
  out.layers = state.layers;
  if (!state.changed && annotations.empty()) {
    if (!state.base) return InvalidArgument("No image was generated. Is your Dockerfile empty?");
    const engine::ImageDocuments& base = *state.base->documents;
    out.manifest_descriptor = base.manifest_descriptor;
    out.manifest = TRY(engine.containerd().ReadBlob(base.manifest_descriptor.digest));
    out.config = TRY(engine.containerd().ReadBlob(base.id));
    out.config_descriptor = DescriptorOf(out.config, base.manifest.config.media_type);
    return out;
  }
  out.config = DocumentOf(state).Dump();
  out.config_descriptor = DescriptorOf(out.config, oci::kOciConfig);
  out.manifest = engine::ManifestOf(out.config_descriptor, state.layers, annotations).Dump();
  out.manifest_descriptor = DescriptorOf(out.manifest, oci::kOciManifest);
  return out;
}

Result<> WriteImageArchive(engine::Engine& engine, const ImageDocumentsOf& image, ArchiveKind kind,
                           const std::vector<std::string>& names, ByteSink& sink) {
  formats::TarWriter tar(sink);
  TRY(WriteDirectory(tar, "blobs"));
  TRY(WriteDirectory(tar, "blobs/sha256"));
  std::set<std::string> written;
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
  TRY(WriteText(tar, BlobPath(image.config_descriptor), image.config));
  TRY(WriteText(tar, BlobPath(image.manifest_descriptor), image.manifest));
  TRY(WriteText(tar, "index.json", IndexOf(image, names).Dump()));
  if (kind == ArchiveKind::kDocker) {
    TRY(WriteText(tar, "manifest.json", DockerManifest(image, names).Dump()));
  }
  TRY(WriteText(tar, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  return tar.Finish();
}

}  // namespace gantry::build
