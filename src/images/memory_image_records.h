// SPDX-License-Identifier: Apache-2.0
//
// Image records in memory, for tests. Any thread.
#pragma once

#include <map>
#include <string>

#include "base/mutex.h"
#include "images/library.h"

namespace gantry::images {

class MemoryImageRecords : public ImageRecords {
 public:
  explicit MemoryImageRecords(content::BlobStore* const* blobs) : store_(blobs) {}

  Result<std::optional<BlobRecord>> FindBlob(const formats::Digest& digest) override {
    MutexLock lock(mutex_);
    auto found = blobs_.find(digest);
    if (found == blobs_.end()) return std::optional<BlobRecord>();
    return std::optional<BlobRecord>(found->second);
  }
  Result<> PutBlob(const BlobRecord& blob) override {
    TRY((*store_)->Stat(blob.digest));
    MutexLock lock(mutex_);
    BlobRecord& record = blobs_[blob.digest];
    record.digest = blob.digest;
    record.size = blob.size;
    for (const auto& [key, value] : blob.labels) {
      if (value.empty()) {
        record.labels.erase(key);
      } else {
        record.labels[key] = value;
      }
    }
    return {};
  }
  Result<std::optional<ImageRecord>> FindImage(const std::string& name) override {
    MutexLock lock(mutex_);
    auto found = images_.find(name);
    if (found == images_.end()) return std::optional<ImageRecord>();
    return std::optional<ImageRecord>(found->second);
  }
  Result<> PutImage(const ImageRecord& image) override {
    MutexLock lock(mutex_);
    images_[image.name] = image;
    return {};
  }
  std::map<std::string, ImageRecord> images() {
    MutexLock lock(mutex_);
    return images_;
  }

 private:
  content::BlobStore* const* store_;
  Mutex mutex_;
  std::map<formats::Digest, BlobRecord> blobs_ GUARDED_BY(mutex_);
  std::map<std::string, ImageRecord> images_ GUARDED_BY(mutex_);
};

}  // namespace gantry::images
