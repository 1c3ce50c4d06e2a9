// SPDX-License-Identifier: Apache-2.0
#include "images/unpack.h"

#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "images/apply_layer.h"

namespace gantry::images {
namespace {

constexpr std::string_view kSnapshotRef = "containerd.io/snapshot.ref";
constexpr std::string_view kUncompressed = "containerd.io/uncompressed";

struct Layer {
  oci::Descriptor descriptor;
  formats::Digest diff_id;
  std::string chain_id;
  std::string parent;  // chain id of the layer below
};

// Extracts one layer into a snapshot of its own and commits it under its chain id.
Result<> ExtractLayer(const Library& library, snapshots::Snapshotter& snapshotter,
                      const Layer& layer, LayerSupply& supply) {
  const std::string key = fmt::format("extract-{} {}", RandomHex(8), layer.chain_id);
  const snapshots::Labels labels = {{std::string(kSnapshotRef), layer.chain_id}};
  auto blob = TRY(supply.Open(layer.descriptor.digest));
  TRY(library.records->KeepSnapshot(snapshotter.name(), key));
  auto mounts = TRY(snapshotter.Prepare(library.ns, key, layer.parent, labels));
  Undo undo;
  undo.Push([&] {
    auto removed = snapshotter.Remove(library.ns, key);
    if (!removed.ok()) log::Warning("{}", removed.error().message());
  });
  AppliedLayer applied = TRY(ApplyToMounts(mounts, *blob, library.stop, library.max_layer_bytes));
  // What was extracted may have been read before its digest was known.
  TRY(supply.Await(layer.descriptor.digest));
  if (applied.diff_id != layer.diff_id) {
    return MakeError(ErrorKind::kDataLoss,
                     "its uncompressed digest is {}, the image's configuration says {}",
                     applied.diff_id.text(), layer.diff_id.text());
  }
  auto committed = snapshotter.Commit(library.ns, layer.chain_id, key, labels);
  // Somebody else unpacked the same meanwhile; ours is removed.
  if (!committed.ok() && committed.error().kind() == ErrorKind::kAlreadyExists) return {};
  TRY(std::move(committed));
  undo.Commit();
  return {};
}

Result<> UnpackLayer(const Library& library, snapshots::Snapshotter& snapshotter,
                     const Layer& layer, LayerSupply& supply) {
  auto extracted = ExtractLayer(library, snapshotter, layer, supply);
  if (extracted.ok()) return {};
  // What is wrong with the layer's bytes explains what its extraction stumbled over.
  TRY(supply.Await(layer.descriptor.digest));
  if (extracted.error().kind() != ErrorKind::kAborted) return extracted;
  // The download began anew under the extraction; by now it is whole.
  return ExtractLayer(library, snapshotter, layer, supply);
}

// How many layers from the base on are there already.
Result<size_t> CountUnpacked(const Library& library, snapshots::Snapshotter& snapshotter,
                             const std::vector<formats::Digest>& chain) {
  for (size_t count = chain.size(); count > 0; --count) {
    auto record = snapshotter.Stat(library.ns, chain[count - 1].text());
    if (record.ok()) return count;
    if (record.error().kind() != ErrorKind::kNotFound) return std::move(record).error();
  }
  return 0;
}

}  // namespace

Result<Unpacked> Unpack(const Library& library, snapshots::Snapshotter& snapshotter,
                        const oci::Descriptor& target, const oci::Platform& wanted) {
  LayerSupply supply(library.blobs);
  return Unpack(library, snapshotter, target, wanted, supply);
}

Result<Unpacked> Unpack(const Library& library, snapshots::Snapshotter& snapshotter,
                        const oci::Descriptor& target, const oci::Platform& wanted,
                        LayerSupply& supply) {
  ResolvedManifest resolved = TRY(ResolveManifest(*library.blobs, target, wanted));
  const oci::Manifest& manifest = resolved.manifest;
  std::string text = TRY(library.blobs->ReadBlob(manifest.config.digest, oci::kMaxDocumentBytes));
  oci::ImageConfig config = TRY(oci::ParseImageConfig(text));
  if (!config.platform.os.empty() && config.platform.os != wanted.os) {
    return FailedPrecondition("image operating system '{}' cannot be used on this platform",
                              config.platform.os);
  }
  if (config.diff_ids.size() != manifest.layers.size()) {
    return InvalidArgument("unpacking {}: {} layers, but the configuration names {}",
                           resolved.descriptor.digest.text(), manifest.layers.size(),
                           config.diff_ids.size());
  }
  std::vector<formats::Digest> chain = oci::ChainIds(config.diff_ids);
  for (const formats::Digest& chain_id : chain) {
    TRY(library.records->KeepSnapshot(snapshotter.name(), chain_id.text()));
  }
  size_t first = TRY(CountUnpacked(library, snapshotter, chain));
  for (size_t i = 0; i < first; ++i) {
    const oci::Descriptor& there = manifest.layers[i];
    auto size = static_cast<uint64_t>(there.size);
    library.Report({"already exists", there.digest.text(), size, size, there});
  }
  for (size_t i = first; i < chain.size(); ++i) {
    Layer layer{manifest.layers[i], config.diff_ids[i], chain[i].text(),
                i == 0 ? "" : chain[i - 1].text()};
    const std::string& digest = layer.descriptor.digest.text();
    auto size = static_cast<uint64_t>(layer.descriptor.size);
    library.Report({"extracting", digest, 0, size, layer.descriptor});
    TRY_WITH(UnpackLayer(library, snapshotter, layer, supply), "unpacking layer {}", digest);
    TRY(library.records->PutBlob(
        {layer.descriptor.digest, size, {{std::string(kUncompressed), layer.diff_id.text()}}}));
    library.Report({"extracted", digest, size, size, layer.descriptor});
  }
  Unpacked unpacked{chain.empty() ? "" : chain.back().text(), resolved.descriptor, manifest.config};
  if (!chain.empty()) {
    // Keeps the snapshots for as long as the image's configuration is kept.
    std::string label = fmt::format("containerd.io/gc.ref.snapshot.{}", snapshotter.name());
    TRY(library.records->PutBlob({manifest.config.digest,
                                  static_cast<uint64_t>(manifest.config.size),
                                  {{label, unpacked.chain_id}}}));
  }
  return unpacked;
}

}  // namespace gantry::images
