// SPDX-License-Identifier: Apache-2.0
#include "engine/new_image.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "engine/dangling.h"
#include "engine/event.h"
#include "engine/images.h"
#include "formats/digest.h"
#include "formats/reference.h"

namespace gantry::engine {
namespace {

// Of leases for work that ends before its request does.
constexpr std::string_view kWorkPrefix = "engine-";
constexpr std::chrono::seconds kBackBound(5);

using formats::Json;

// Two blocks of zeros: a tar without an entry.
constexpr std::string_view kEmptyLayer =
    "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

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

Result<client::Descriptor> WriteDocument(const Lease& lease, const Json& json,
                                         std::string_view type, const client::Labels& labels) {
  auto writer = TRY(lease.OpenBlob());
  TRY(writer->Write(json.Dump()));
  client::Descriptor blob = TRY(writer->Commit(labels));
  blob.media_type = type;
  return blob;
}

// A read-only snapshot on top of a chain, as long as the object; without a chain nothing.
class View {
 public:
  static Result<View> Open(Engine& engine, const Lease& lease, std::string_view name,
                           const std::string& chain) {
    View view;
    if (chain.empty()) return view;
    client::Containerd& containerd = engine.containerd();
    const std::string& snapshotter = engine.options().snapshotter;
    std::string key = fmt::format("{}-{}", lease.id(), name);
    view.mounts_ = TRY(containerd.ViewSnapshot(snapshotter, key, chain, {}, lease.id()));
    view.remove_.Push([&containerd, snapshotter, key] {
      Result<> removed = containerd.RemoveSnapshot(snapshotter, key);
      if (!removed.ok()) log::Warning("removing snapshot {}: {}", key, removed.error().message());
    });
    return view;
  }
  const std::vector<client::Mount>& mounts() const { return mounts_; }

 private:
  View() = default;
  std::vector<client::Mount> mounts_;
  Undo remove_;
};

Result<std::optional<NewLayer>> DiffTrees(Engine& engine, const Lease& lease,
                                          const std::vector<client::Mount>& left,
                                          const std::vector<client::Mount>& right,
                                          std::optional<int64_t> newest = std::nullopt) {
  client::Descriptor blob = TRY(lease.DiffMounts(left, right, newest));
  client::Blob info = TRY(engine.containerd().GetBlob(blob.digest));
  std::string diff_id = info.labels["containerd.io/uncompressed"];
  if (diff_id.empty())
    return Internal("the layer {} does not say what it is unpacked", blob.digest);
  if (diff_id == kEmptyLayer) return std::optional<NewLayer>();
  return std::optional<NewLayer>(NewLayer{std::move(blob), std::move(diff_id)});
}

}  // namespace

Result<std::vector<std::string>> Lease::ListOfBefore(client::Containerd& containerd) {
  std::vector<std::string> ids = TRY(containerd.ListLeases());
  std::erase_if(ids, [](const std::string& id) { return !id.starts_with(kWorkPrefix); });
  return ids;
}

Result<> Lease::End(client::Containerd& containerd, const std::string& id) {
  Result<> aborted = containerd.AbortWrite(client::WriteOf(id));
  if (!aborted.ok() && aborted.error().kind() != ErrorKind::kNotFound) return aborted;
  return containerd.DeleteLease(id);
}

Result<Lease> Lease::Take(client::Containerd& containerd) {
  std::string id = std::string(kWorkPrefix) + RandomHex(8);
  TRY(containerd.CreateLease(id));
  return Lease(&containerd, std::move(id));
}

Result<Lease> Lease::TakeLasting(client::Containerd& containerd, std::string_view prefix) {
  std::string id = std::string(prefix) + RandomHex(8);
  TRY(containerd.CreateLease(id, client::Containerd::LeaseLife::kUntilDeleted));
  return Lease(&containerd, std::move(id));
}

Result<std::unique_ptr<client::BlobWriter>> Lease::OpenBlob() const {
  writes_ = true;
  return containerd_->OpenBlob(id_);
}

Result<client::Descriptor> Lease::DiffMounts(const std::vector<client::Mount>& left,
                                             const std::vector<client::Mount>& right,
                                             std::optional<int64_t> newest) const {
  writes_ = true;
  return containerd_->DiffMounts(id_, left, right, std::string(oci::kOciLayerGzip), newest);
}

Lease::~Lease() {
  if (containerd_ == nullptr) return;
  auto end = [this] { return writes_ ? End(*containerd_, id_) : containerd_->DeleteLease(id_); };
  Result<> ended = end();
  // It was killed in the middle of the work, and will be there again.
  bool away = !ended.ok() && ended.error().kind() == ErrorKind::kUnavailable;
  if (away && containerd_->Version(kBackBound).ok()) ended = end();
  if (!ended.ok()) log::Warning("ending lease {}: {}", id_, ended.error().message());
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

std::string ChainId(const std::string& parent, const std::string& layer) {
  return parent.empty() ? layer : formats::Digest::Of(parent + " " + layer).text();
}

Result<std::optional<NewLayer>> DiffSnapshot(Engine& engine, const Lease& lease,
                                             const std::string& key, const std::string& parent,
                                             std::optional<int64_t> newest) {
  View below = TRY(View::Open(engine, lease, "parent", parent));
  auto right = TRY(engine.containerd().SnapshotMounts(engine.options().snapshotter, key));
  return DiffTrees(engine, lease, below.mounts(), right, newest);
}

Result<std::optional<NewLayer>> DiffCommitted(Engine& engine, const Lease& lease,
                                              const std::string& from, const std::string& to) {
  View below = TRY(View::Open(engine, lease, "from", from));
  View above = TRY(View::Open(engine, lease, "to", to));
  return DiffTrees(engine, lease, below.mounts(), above.mounts());
}

Result<> UnpackLayer(Engine& engine, const Lease& lease, const std::string& parent,
                     const NewLayer& layer) {
  client::Containerd& containerd = engine.containerd();
  const std::string& snapshotter = engine.options().snapshotter;
  std::string key = fmt::format("{}-unpack", lease.id());
  auto mounts = TRY(containerd.PrepareSnapshot(snapshotter, key, parent, {}, lease.id()));
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

Result<std::string> MakeImage(Engine& engine, const Lease& lease, const NewImage& image) {
  std::string parent = image.parent != nullptr ? image.parent->top_chain_id : "";
  std::string chain = image.layer ? ChainId(parent, image.layer->diff_id) : parent;
  if (image.layer)
    TRY_WITH(UnpackLayer(engine, lease, parent, *image.layer), "unpacking the layer");

  ImageParts parts;
  parts.config = ConfigDocument(image, FormatRfc3339Nano(WallClock::now()));
  if (image.parent != nullptr) {
    parts.parent = image.parent->id;
    for (const oci::Descriptor& layer : image.parent->manifest.layers) {
      parts.layers.push_back({layer.media_type, layer.digest.text(), layer.size});
    }
  }
  if (image.layer) parts.layers.push_back(image.layer->blob);
  parts.chain_id = std::move(chain);
  if (!image.name.empty()) parts.names.push_back(image.name);
  std::string id = TRY(StoreImage(engine, lease, parts));
  if (!image.name.empty()) {
    engine.Publish(ImageEvent("tag", id, FamiliarName(image.name), parts.config));
  }
  return id;
}

client::Descriptor DescriptorOf(std::string_view media_type, const std::string& text) {
  return {std::string(media_type), formats::Digest::Of(text).text(),
          static_cast<int64_t>(text.size())};
}

Json DescriptorJson(const client::Descriptor& blob) {
  return Json::MakeObject(
      {{"mediaType", blob.media_type}, {"digest", blob.digest}, {"size", blob.size}});
}

Json ManifestOf(const client::Descriptor& config, const std::vector<client::Descriptor>& layers,
                const Annotations& annotations) {
  Json list = Json::MakeArray();
  for (const client::Descriptor& blob : layers) list.Append(DescriptorJson(blob));
  Json manifest = Json::MakeObject({{"schemaVersion", 2},
                                    {"mediaType", oci::kOciManifest},
                                    {"config", DescriptorJson(config)},
                                    {"layers", std::move(list)}});
  if (!annotations.empty()) manifest.Set("annotations", Json(annotations));
  return manifest;
}

Result<> NameImage(client::Containerd& containerd, const client::Descriptor& target,
                   std::vector<std::string> names) {
  client::Image record;
  record.target = target;
  if (names.empty()) names.push_back(std::string(kDanglingName) + target.digest);
  ReplacedImages replaced =
      TRY(ReplacedImages::Note(containerd, names.size() == 1 ? names.front() : ""));
  for (const std::string& name : names) {
    record.name = name;
    TRY(containerd.PutImage(record));
  }
  return replaced.Keep();
}

Result<std::string> StoreImage(Engine& engine, const Lease& lease, const ImageParts& parts) {
  client::Containerd& containerd = engine.containerd();
  client::Labels config_labels;
  if (!parts.chain_id.empty()) {
    config_labels["containerd.io/gc.ref.snapshot." + engine.options().snapshotter] = parts.chain_id;
  }
  if (!parts.parent.empty()) config_labels[kParentLabel] = parts.parent;
  client::Descriptor config =
      TRY(WriteDocument(lease, parts.config, oci::kOciConfig, config_labels));
  client::Labels labels = {{"containerd.io/gc.ref.content.config", config.digest}};
  size_t number = 0;
  for (const client::Descriptor& blob : parts.layers) {
    labels[fmt::format("containerd.io/gc.ref.content.l.{}", number++)] = blob.digest;
  }
  Json manifest = ManifestOf(config, parts.layers, parts.annotations);
  client::Descriptor target = TRY(WriteDocument(lease, manifest, oci::kOciManifest, labels));
  TRY(NameImage(containerd, target, parts.names));
  return config.digest;
}

}  // namespace gantry::engine
