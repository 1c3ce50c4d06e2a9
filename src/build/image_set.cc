// SPDX-License-Identifier: Apache-2.0
#include "build/image_set.h"

#include <utility>

#include "engine/image_index.h"
#include "engine/images.h"
#include "formats/digest.h"
#include "oci/image_spec.h"

namespace gantry::build {
namespace {

using formats::Json;

constexpr std::string_view kInToto = "application/vnd.in-toto+json";

}  // namespace

Result<ImageDocumentsOf> DocumentsOf(engine::Engine& engine, const StageState& state,
                                     const engine::Annotations& annotations) {
  ImageDocumentsOf out;
  out.layers = state.layers;
  out.chain_id = state.chain_id;
  if (!state.changed && annotations.empty()) {
    if (!state.base) return InvalidArgument("No image was generated. Is your Dockerfile empty?");
    const engine::ImageDocuments& base = *state.base->documents;
    out.manifest_descriptor = base.manifest_descriptor;
    out.manifest = TRY(engine.containerd().ReadBlob(base.manifest_descriptor.digest));
    out.config = TRY(engine.containerd().ReadBlob(base.id));
    out.config_descriptor = engine::DescriptorOf(base.manifest.config.media_type, out.config);
    return out;
  }
  out.config = DocumentOf(state).Dump();
  out.config_descriptor = engine::DescriptorOf(oci::kOciConfig, out.config);
  out.manifest = engine::ManifestOf(out.config_descriptor, state.layers, annotations).Dump();
  out.manifest_descriptor = engine::DescriptorOf(oci::kOciManifest, out.manifest);
  return out;
}

client::Descriptor ImageSetMaker::AddDocument(std::string text, std::string_view type,
                                              std::vector<std::string> references) {
  client::Descriptor descriptor = engine::DescriptorOf(type, text);
  set_.documents.push_back({descriptor, std::move(text), std::move(references), ""});
  return descriptor;
}

void ImageSetMaker::Add(ImageDocumentsOf image, const oci::Platform& platform,
                        const std::vector<Statement>& statements) {
  set_.documents.push_back({image.config_descriptor, image.config, {}, image.chain_id});
  std::vector<std::string> references = {image.config_descriptor.digest};
  for (const client::Descriptor& layer : image.layers) references.push_back(layer.digest);
  set_.documents.push_back({image.manifest_descriptor, image.manifest, std::move(references), ""});
  Json entry = engine::DescriptorJson(image.manifest_descriptor);
  entry.Set("platform", oci::ToJson(platform));
  if (!image.descriptor_annotations.empty()) {
    entry.Set("annotations", Json(image.descriptor_annotations));
  }
  images_.Append(std::move(entry));
  if (!statements.empty()) {
    std::vector<std::string> parts;
    Json layers = Json::MakeArray();
    Json digests = Json::MakeArray();
    for (const Statement& statement : statements) {
      client::Descriptor blob = AddDocument(statement.text, kInToto, {});
      parts.push_back(blob.digest);
      digests.Append(blob.digest);
      Json layer = engine::DescriptorJson(blob);
      layer.Set("annotations",
                Json::MakeObject({{"in-toto.io/predicate-type", statement.predicate_type}}));
      layers.Append(std::move(layer));
    }
    Json config = Json::MakeObject(
        {{"architecture", "unknown"},
         {"os", "unknown"},
         {"config", Json::MakeObject()},
         {"rootfs", Json::MakeObject({{"type", "layers"}, {"diff_ids", std::move(digests)}})}});
    client::Descriptor described = AddDocument(config.Dump(), oci::kOciConfig, {});
    parts.push_back(described.digest);
    Json manifest = Json::MakeObject({{"schemaVersion", 2},
                                      {"mediaType", oci::kOciManifest},
                                      {"config", engine::DescriptorJson(described)},
                                      {"layers", std::move(layers)}});
    Json attestation =
        engine::DescriptorJson(AddDocument(manifest.Dump(), oci::kOciManifest, std::move(parts)));
    attestation.Set(
        "annotations",
        Json::MakeObject({{"vnd.docker.reference.digest", image.manifest_descriptor.digest},
                          {"vnd.docker.reference.type", "attestation-manifest"}}));
    attestation.Set("platform", Json::MakeObject({{"architecture", "unknown"}, {"os", "unknown"}}));
    attestations_.Append(std::move(attestation));
  }
  set_.images.push_back(std::move(image));
}

ImageSet ImageSetMaker::TakeImage() && {
  set_.root = set_.images.front().manifest_descriptor;
  set_.root_annotations = set_.images.front().descriptor_annotations;
  return std::move(set_);
}

ImageSet ImageSetMaker::TakeIndex(const engine::Annotations& annotations,
                                  const engine::Annotations& descriptor_annotations) && {
  std::vector<std::string> references;
  for (Json& attestation : attestations_.mutable_items()) images_.Append(std::move(attestation));
  for (const Json& one : images_.items()) references.push_back(one["digest"].AsString());
  Json index = Json::MakeObject(
      {{"schemaVersion", 2}, {"mediaType", oci::kOciIndex}, {"manifests", std::move(images_)}});
  if (!annotations.empty()) index.Set("annotations", Json(annotations));
  set_.root = AddDocument(index.Dump(), oci::kOciIndex, std::move(references));
  set_.root_annotations = descriptor_annotations;
  return std::move(set_);
}

Result<> StoreImageSet(engine::Engine& engine, const ImageSet& set,
                       const std::vector<std::string>& names) {
  engine::Lease lease = TRY(engine::Lease::Take(engine.containerd()));
  for (const SetDocument& document : set.documents) {
    client::Labels labels;
    size_t number = 0;
    for (const std::string& digest : document.references) {
      labels[fmt::format("containerd.io/gc.ref.content.{}", number++)] = digest;
    }
    if (!document.chain_id.empty()) {
      labels["containerd.io/gc.ref.snapshot." + engine.options().snapshotter] = document.chain_id;
    }
    auto writer = TRY(lease.OpenBlob());
    TRY(writer->Write(document.text));
    TRY(writer->Commit(labels));
  }
  TRY(engine::NameImage(engine.containerd(), set.root, names));
  for (const ImageDocumentsOf& image : set.images) {
    const std::string& id = image.config_descriptor.digest;
    Json config = TRY(Json::Parse(image.config));
    engine.Publish(engine::ImageEvent("create", id, id, config));
    for (const std::string& name : names) {
      engine.Publish(engine::ImageEvent("tag", id, engine::FamiliarName(name), config));
    }
  }
  return {};
}

}  // namespace gantry::build
