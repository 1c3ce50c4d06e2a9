// SPDX-License-Identifier: Apache-2.0
#include "images/staged_layer.h"

#include <utility>

#include "base/log.h"
#include "base/random.h"

namespace gantry::images {

StagedLayer::StagedLayer(const Library& library, snapshots::Snapshotter& snapshotter,
                         std::string parent)
    : library_(library),
      snapshotter_(snapshotter),
      key_(fmt::format("extract-{}", RandomHex(16))),
      parent_(std::move(parent)) {}

StagedLayer::~StagedLayer() {
  if (!prepared_) return;
  auto removed = snapshotter_.Remove(library_.ns, key_);
  if (!removed.ok()) log::Warning("{}", removed.error().message());
}

Result<std::unique_ptr<StagedLayer>> StagedLayer::Extract(const Library& library,
                                                          snapshots::Snapshotter& snapshotter,
                                                          const std::string& parent,
                                                          Source source) {
  std::unique_ptr<StagedLayer> layer(new StagedLayer(library, snapshotter, parent));
  TRY(library.records->KeepSnapshot(snapshotter.name(), layer->key_));
  auto mounts = TRY(snapshotter.Prepare(library.ns, layer->key_, parent, {}));
  layer->prepared_ = true;
  ApplyOptions options{.max_bytes = library.max_layer_bytes, .hashing = source.hashing};
  ByteSource& bytes = *source.bytes.source;
  if (!snapshotter.CanRebase()) {
    layer->applied_ = TRY(ApplyToMounts(mounts, bytes, library.stop, options));
    return layer;
  }
  // What hides something of the layers below must say so, although there are none yet.
  ApplyTarget target = TRY(TargetOfMounts(mounts));
  target.whiteouts = Whiteouts::kOverlay;
  layer->applied_ = TRY(ApplyLayer(target, bytes, library.stop, options));
  return layer;
}

Result<> StagedLayer::Commit(const std::string& parent, const std::string& chain_id) {
  if (parent != parent_) {
    auto mounts = TRY(snapshotter_.Rebase(library_.ns, key_, parent));
    TRY(TakeLowerAttributes(mounts, applied_.unnamed));
  }
  const snapshots::Labels labels = {{"containerd.io/snapshot.ref", chain_id}};
  auto committed = snapshotter_.Commit(library_.ns, chain_id, key_, labels);
  // Somebody else unpacked the same meanwhile; ours is removed.
  if (!committed.ok() && committed.error().kind() == ErrorKind::kAlreadyExists) return {};
  TRY(std::move(committed));
  prepared_ = false;
  return {};
}

}  // namespace gantry::images
