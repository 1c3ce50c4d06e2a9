// SPDX-License-Identifier: Apache-2.0
//
// Layers of an archive, extracted while they come, before it is known which image they are of:
// docker's archive says that last. A few at a time, into snapshotters that can rebase. What turns
// out to be no layer, or none of an image that is unpacked, is removed. Any thread.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "images/layer_feed.h"
#include "images/library.h"
#include "images/staged_layer.h"
#include "snapshots/snapshotter.h"

namespace gantry::images {

class EarlyLayers {
 public:
  // Of `into`, those that can rebase. The library outlives it.
  EarlyLayers(const Library& library, const std::vector<snapshots::Snapshotter*>& into);
  ~EarlyLayers();
  EarlyLayers(const EarlyLayers&) = delete;
  EarlyLayers& operator=(const EarlyLayers&) = delete;

  // A file that comes: `data` is open where it is written, `first_bytes` are its first six or more.
  // The feed wants Advance and, in any case, Finish. Null for what can't be a layer, and
  // while too many wait.
  LayerFeed* Begin(UniqueFd data, std::string_view first_bytes);
  // The file of that feed is the blob `digest`, whole and verified.
  void Name(const LayerFeed* feed, const formats::Digest& digest);
  // The blob as it was extracted into that snapshotter; waits for that. Null: it was not.
  std::unique_ptr<StagedLayer> Take(const snapshots::Snapshotter& snapshotter,
                                    const formats::Digest& digest);

 private:
  struct File {
    LayerFeed feed;
    Hashing hashing = Hashing::kWhole;
    int left = 0;  // extractions that have not ended
    std::vector<std::pair<const snapshots::Snapshotter*, std::unique_ptr<StagedLayer>>> staged;
  };
  struct Job {
    File* file;
    snapshots::Snapshotter* snapshotter;
  };
  void Work();

  const Library& library_;
  std::vector<snapshots::Snapshotter*> into_;
  Mutex mutex_;
  CondVar changed_;
  std::list<File> files_ GUARDED_BY(mutex_);
  std::map<formats::Digest, File*> named_ GUARDED_BY(mutex_);
  std::deque<Job> jobs_ GUARDED_BY(mutex_);
  bool stop_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
};

}  // namespace gantry::images
