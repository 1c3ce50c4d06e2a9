// SPDX-License-Identifier: Apache-2.0
//
// A layer that is extracted into an active snapshot and not committed yet. Where the snapshotter
// can rebase, layers are extracted on top of nothing, so several at once, and are put on each other
// at the end. Removes its snapshot at the end of its life when it was not committed. One thread at
// a time; the library and the snapshotter outlive it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "images/apply_layer.h"
#include "images/layer_feed.h"
#include "images/library.h"
#include "snapshots/snapshotter.h"

namespace gantry::images {

class StagedLayer {
 public:
  struct Source {
    LayerBytes bytes;
    Hashing hashing = Hashing::kWhole;
  };
  // On top of the committed `parent`, or ("") of nothing.
  static Result<std::unique_ptr<StagedLayer>> Extract(const Library& library,
                                                      snapshots::Snapshotter& snapshotter,
                                                      const std::string& parent, Source source);
  ~StagedLayer();
  StagedLayer(const StagedLayer&) = delete;
  StagedLayer& operator=(const StagedLayer&) = delete;

  // Of the uncompressed tar; empty when it was not hashed.
  const formats::Digest& diff_id() const { return applied_.diff_id; }
  // Names it `chain_id`, on top of `parent`. One that somebody else committed meanwhile is as good.
  Result<> Commit(const std::string& parent, const std::string& chain_id);

 private:
  StagedLayer(const Library& library, snapshots::Snapshotter& snapshotter, std::string parent);

  const Library& library_;
  snapshots::Snapshotter& snapshotter_;
  const std::string key_;
  const std::string parent_;
  AppliedLayer applied_;
  bool prepared_ = false;
};

}  // namespace gantry::images
