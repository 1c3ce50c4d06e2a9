// SPDX-License-Identifier: Apache-2.0
//
// Extracts one layer of an image into the directory of a snapshot. The layer is not trusted: every
// path is resolved by the kernel below the directory's descriptor, so that no name, symbolic link
// or hard link leads outside; names that try are kept inside as containerd keeps them. Whiteouts
// (image-spec, layer.md, "Whiteouts") become overlay's, or delete.
//
// A layer that names a/b/f without a/ and a/b/ keeps their mode, owner, times and extended
// attributes from the layers below. Uses a second thread for decompression; needs root for owners
// and devices.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "formats/digest.h"
#include "snapshots/snapshotter.h"

namespace gantry::images {

// Begins the name of a file that hides another one.
constexpr std::string_view kWhiteoutPrefix = ".wh.";

enum class Whiteouts {
  kOverlay,  // 0/0 devices and trusted.overlay.opaque, for overlay's upper directory
  kDelete,   // what they name is deleted: the directory has a copy of the layers below
};

struct ApplyTarget {
  std::string directory;
  std::vector<std::string> lowers;  // the layers below, nearest first
  Whiteouts whiteouts = Whiteouts::kDelete;
};
// What the mounts of an active snapshot mean: an overlay's upper and lower directories, or a bind
// mount's directory.
Result<ApplyTarget> TargetOfMounts(const std::vector<snapshots::Mount>& mounts);

struct AppliedLayer {
  formats::Digest diff_id;  // of the uncompressed tar; empty with Hashing::kNone
  uint64_t size = 0;        // of the uncompressed tar
  // Clean names of the directories that are there because of what is in them, parents first: their
  // attributes are those of the layers below.
  std::vector<std::string> unnamed;
};

// The largest layers that people make have some 10 GiB; a bomb has no bound.
constexpr uint64_t kMaxLayerBytes = uint64_t{128} << 30;

enum class Hashing {
  kWhole,
  kNone,  // the layer is not compressed, and whoever brought it has hashed it
};

struct ApplyOptions {
  uint64_t max_bytes = kMaxLayerBytes;  // of the uncompressed tar
  Hashing hashing = Hashing::kWhole;
};

// `layer` may be compressed with gzip or zstd. kResourceExhausted: it has more than the options'
// bytes uncompressed.
Result<AppliedLayer> ApplyLayer(const ApplyTarget& target, ByteSource& layer, const StopToken& stop,
                                const ApplyOptions& options = {});
// The same into what the mounts of an active snapshot show; kinds of mounts that are no directory
// of this machine are mounted for it, where nobody sees it.
Result<AppliedLayer> ApplyToMounts(const std::vector<snapshots::Mount>& mounts, ByteSource& layer,
                                   const StopToken& stop, const ApplyOptions& options = {});

// For a layer that was extracted without the layers below: gives the root and its unnamed
// directories the attributes that these mounts' lower layers have for them.
Result<> TakeLowerAttributes(const std::vector<snapshots::Mount>& mounts,
                             const std::vector<std::string>& unnamed);

}  // namespace gantry::images
