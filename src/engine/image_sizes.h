// SPDX-License-Identifier: Apache-2.0
//
// What images take on disk (docs/disk-figures.md): manifest, configuration and layers as they came,
// in bytes, and the snapshots that the layers were unpacked into, in blocks. Neither changes under
// its name, so what is known is not asked for again. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "client/containerd.h"
#include "engine/image_index.h"

namespace gantry::engine {

// Images share a part when its name is the same.
struct DiskPart {
  std::string name;  // a blob's digest, or a snapshot's chain id after kSnapshotPart
  int64_t bytes = 0;
};
inline constexpr std::string_view kSnapshotPart = "snapshot ";

struct DiskParts {
  std::vector<DiskPart> parts;          // each once
  std::vector<int64_t> snapshot_bytes;  // of each layer; empty for an image that is not unpacked
  int64_t total = 0;                    // of all parts
  int64_t root = 0;                     // of the snapshots: the files of the image
};

class ImageSizes {
 public:
  ImageSizes(client::Containerd& containerd, std::string snapshotter)
      : containerd_(containerd), snapshotter_(std::move(snapshotter)) {}

  Result<std::shared_ptr<const DiskParts>> Of(const ImageDocuments& image);

 private:
  Result<std::vector<int64_t>> SnapshotsOf(const ImageDocuments& image);

  client::Containerd& containerd_;
  const std::string snapshotter_;
  Mutex mutex_;
  // By the manifest's digest, of unpacked images.
  std::unordered_map<std::string, std::shared_ptr<const DiskParts>> known_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
