// SPDX-License-Identifier: Apache-2.0
#include "engine/image_sizes.h"

#include <algorithm>
#include <utility>

namespace gantry::engine {
namespace {

// Of hosts whose images come and go for years.
constexpr size_t kMaxKnown = 50'000;

void Add(std::string name, int64_t bytes, DiskParts* to) {
  bool again = std::any_of(to->parts.begin(), to->parts.end(),
                           [&](const DiskPart& part) { return part.name == name; });
  if (again) return;
  to->parts.push_back({std::move(name), bytes});
  to->total += bytes;
}

}  // namespace

Result<std::vector<int64_t>> ImageSizes::SnapshotsOf(const ImageDocuments& image) {
  std::vector<int64_t> sizes;
  // The topmost first: without it the others say nothing of this image.
  std::vector<formats::Digest> chain = oci::ChainIds(image.config.diff_ids);
  for (auto id = chain.rbegin(); id != chain.rend(); ++id) {
    auto usage = containerd_.GetSnapshotUsage(snapshotter_, std::string(id->text()));
    if (!usage.ok() && usage.error().kind() == ErrorKind::kNotFound) {
      return std::vector<int64_t>();
    }
    sizes.push_back(TRY(std::move(usage)).size);
  }
  std::reverse(sizes.begin(), sizes.end());
  return sizes;
}

Result<std::shared_ptr<const DiskParts>> ImageSizes::Of(const ImageDocuments& image) {
  const std::string& key = image.manifest_descriptor.digest;
  {
    MutexLock lock(mutex_);
    auto found = known_.find(key);
    if (found != known_.end()) return found->second;
  }
  auto made = std::make_shared<DiskParts>();
  Add(key, image.manifest_descriptor.size, made.get());
  Add(image.id, image.manifest.config.size, made.get());
  for (const oci::Descriptor& layer : image.manifest.layers) {
    Add(std::string(layer.digest.text()), layer.size, made.get());
  }
  made->snapshot_bytes = TRY(SnapshotsOf(image));
  std::vector<formats::Digest> chain = oci::ChainIds(image.config.diff_ids);
  for (size_t i = 0; i < made->snapshot_bytes.size(); ++i) {
    made->root += made->snapshot_bytes[i];
    Add(std::string(kSnapshotPart) + std::string(chain[i].text()), made->snapshot_bytes[i],
        made.get());
  }
  bool unpacked = made->snapshot_bytes.size() == chain.size();
  MutexLock lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  if (unpacked) known_.emplace(key, made);
  return std::shared_ptr<const DiskParts>(std::move(made));
}

}  // namespace gantry::engine
