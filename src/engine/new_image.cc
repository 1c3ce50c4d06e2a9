// SPDX-License-Identifier: Apache-2.0
#include "engine/new_image.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "engine/dangling.h"
#include "formats/digest.h"
#include "formats/reference.h"

namespace gantry::engine {
namespace {

using formats::Json;

Json ConfigDocument(const NewImage& image, const std::string& created) {
  Json json = image.parent != nullptr ? image.parent->config_json : Json::MakeObject();
  if (image.parent == nullptr) {
    json.Set("architecture", image.platform.architecture);
    json.Set("os", image.platform.os);
    if (!image.platform.variant.empty()) json.Set("variant", image.platform.variant);
  }
  json.Set("author", image.author);
  json.Set("config", image.config);
  json.Set("created", created);
  Json entry = Json::MakeObject({{"created", created}});
  if (!image.created_by.empty()) entry.Set("created_by", image.created_by);
  if (!image.author.empty()) entry.Set("author", image.author);
  if (!image.comment.empty()) entry.Set("comment", image.comment);
  if (!image.layer) entry.Set("empty_layer", true);
  Json history = json["history"].is_array() ? json["history"] : Json::MakeArray();
  history.Append(std::move(entry));
  json.Set("history", std::move(history));
  Json layers = Json::MakeArray();
  if (image.parent != nullptr) {
    for (const formats::Digest& layer : image.parent->config.diff_ids) layers.Append(layer.text());
  }
  if (image.layer) layers.Append(image.layer->diff_id);
  json.Set("rootfs", Json::MakeObject({{"type", "layers"}, {"diff_ids", std::move(layers)}}));
  return json;
}

Json ToJson(const client::Descriptor& blob) {
  return Json::MakeObject(
      {{"mediaType", blob.media_type}, {"digest", blob.digest}, {"size", blob.size}});
}

// The name of the snapshot after `layer` is on top of `parent` (image-spec, "Layer ChainID").
std::string ChainId(const std::string& parent, const std::string& layer) {
  return parent.empty() ? layer : formats::Digest::Of(parent + " " + layer).text();
}

Result<client::Descriptor> WriteDocument(client::Containerd& containerd, const Lease& lease,
                                         const Json& json, std::string_view type,
                                         const client::Labels& labels) {
  auto writer = TRY(containerd.OpenBlob(lease.id()));
  TRY(writer->Write(json.Dump()));
  client::Descriptor blob = TRY(writer->Commit(labels));
  blob.media_type = type;
  return blob;
}

Result<> Unpack(Engine& engine, const Lease& lease, const std::string& parent,
                const NewLayer& layer) {
  client::Containerd& containerd = engine.containerd();
  const std::string& snapshotter = engine.options().snapshotter;
  std::string key = fmt::format("{}-unpack", lease.id());
  auto mounts = TRY(containerd.PrepareSnapshot(
      snapshotter, key, parent, {{"containerd.io/gc.root", FormatRfc3339Nano(WallClock::now())}}));
  Result<> unpacked = containerd.ApplyLayer(lease.id(), layer.blob, mounts);
  if (unpacked.ok()) {
    unpacked =
        containerd.CommitSnapshot(snapshotter, lease.id(), ChainId(parent, layer.diff_id), key);
  }
  if (unpacked.ok()) return {};
  bool there = unpacked.error().kind() == ErrorKind::kAlreadyExists;
  Result<> removed = containerd.RemoveSnapshot(snapshotter, key);
  if (!removed.ok()) log::Warning("removing snapshot {}: {}", key, removed.error().message());
  return there ? Result<>() : unpacked;
}

}  // namespace

Result<Lease> Lease::Take(client::Containerd& containerd) {
  std::string id = "engine-" + RandomHex(8);
  TRY(containerd.CreateLease(id));
  return Lease(&containerd, std::move(id));
}

Lease::~Lease() {
  if (containerd_ == nullptr) return;
  Result<> deleted = containerd_->DeleteLease(id_);
  if (!deleted.ok()) log::Warning("ending lease {}: {}", id_, deleted.error().message());
}

Result<std::string> NewImageName(const std::string& repository, const std::string& tag) {
  if (repository.empty()) return std::string();
  formats::Reference name = TRY(formats::ParseReference(repository));
  if (!name.digest.empty()) return InvalidArgument("cannot import digest reference");
  if (!tag.empty()) {
    if (!formats::IsValidTag(tag)) return InvalidArgument("invalid tag format");
    name.tag = tag;
  }
  if (name.tag.empty()) name.tag = "latest";
  return StoreName(name.Familiar());
}

Result<std::string> MakeImage(Engine& engine, const Lease& lease, const NewImage& image) {
  client::Containerd& containerd = engine.containerd();
  std::string parent = image.parent != nullptr ? image.parent->top_chain_id : "";
  std::string chain = image.layer ? ChainId(parent, image.layer->diff_id) : parent;
  if (image.layer) TRY_WITH(Unpack(engine, lease, parent, *image.layer), "unpacking the layer");

  std::string created = FormatRfc3339Nano(WallClock::now());
  client::Labels config_labels;
  if (!chain.empty()) {
    config_labels["containerd.io/gc.ref.snapshot." + engine.options().snapshotter] = chain;
  }
  client::Descriptor config = TRY(WriteDocument(containerd, lease, ConfigDocument(image, created),
                                                oci::kOciConfig, config_labels));
  Json layers = Json::MakeArray();
  client::Labels labels = {{"containerd.io/gc.ref.content.config", config.digest}};
  auto add = [&](const client::Descriptor& blob) {
    labels[fmt::format("containerd.io/gc.ref.content.l.{}", layers.size())] = blob.digest;
    layers.Append(ToJson(blob));
  };
  if (image.parent != nullptr) {
    for (const oci::Descriptor& layer : image.parent->manifest.layers) {
      add({layer.media_type, layer.digest.text(), layer.size});
    }
  }
  if (image.layer) add(image.layer->blob);
  Json manifest = Json::MakeObject({{"schemaVersion", 2},
                                    {"mediaType", oci::kOciManifest},
                                    {"config", ToJson(config)},
                                    {"layers", std::move(layers)}});
  client::Image record;
  record.target = TRY(WriteDocument(containerd, lease, manifest, oci::kOciManifest, labels));
  record.name = image.name.empty() ? std::string(kDanglingName) + record.target.digest : image.name;
  ReplacedImages replaced = TRY(ReplacedImages::Note(containerd));
  TRY(containerd.PutImage(record));
  TRY(replaced.Keep());
  return config.digest;
}

}  // namespace gantry::engine
