// SPDX-License-Identifier: Apache-2.0
//
// Makes a layer of what one snapshot has that another one has not: the reverse of apply_layer.h,
// for Diff.Diff of the container daemon and for commits. Both trees are read through detached
// read-only mounts that nobody else sees, by descriptors and without following links; what is in
// them is not trusted.
//
// When the upper mounts are one overlay layer on top of the lower ones, only that layer is read.
// Otherwise both trees are walked side by side: a file is the same when type, owner, mode, size,
// time and extended attributes are, and its contents too where the times were cut to seconds.
//
// Files whose own names look like whiteouts are left out with a warning, sockets silently. Needs
// root for mounts.
#pragma once

#include <optional>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "formats/compression/compression.h"
#include "formats/digest.h"
#include "snapshots/snapshotter.h"

namespace gantry::images {

struct LayerRequest {
  std::vector<snapshots::Mount> lower;  // none: an empty tree
  std::vector<snapshots::Mount> upper;
  formats::compression::Kind compression = formats::compression::Kind::kGzip;
  // SOURCE_DATE_EPOCH: later times become this one.
  std::optional<int64_t> newest_seconds;
};

struct MadeLayer {
  formats::Digest diff_id;  // of the uncompressed tar
  uint64_t size = 0;        // of the uncompressed tar
};
Result<MadeLayer> MakeLayer(const LayerRequest& request, ByteSink& sink, const StopToken& stop);

}  // namespace gantry::images
