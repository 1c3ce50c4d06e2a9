// SPDX-License-Identifier: Apache-2.0
//
// What import, export, unpack and pull work on: the blobs on disk and the records of one namespace,
// which the container daemon keeps in its database. Any thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "content/blob_store.h"
#include "images/apply_layer.h"
#include "oci/image_spec.h"

namespace gantry::images {

using Labels = std::map<std::string, std::string>;

// An index within an index is allowed; more than this is nonsense.
constexpr int kMaxIndexDepth = 4;

struct ImageRecord {
  std::string name;
  oci::Descriptor target;
  Labels labels;
  WallTime created_at;
  WallTime updated_at;
};

struct BlobRecord {
  formats::Digest digest;
  uint64_t size = 0;
  Labels labels;
};

// The records of one namespace, and of one lease when the request came with one. Each call is
// atomic.
class ImageRecords {
 public:
  virtual ~ImageRecords() = default;

  virtual Result<std::optional<BlobRecord>> FindBlob(const formats::Digest& digest) = 0;
  // Makes the record of a blob that is on disk, or adds these labels to the one that is there. An
  // empty value removes a label. kNotFound: the blob is not on disk (any more).
  virtual Result<> PutBlob(const BlobRecord& blob) = 0;
  // Runs `commit`, which brings the blob to the disk, and records it, with no collection between
  // the two. kAlreadyExists of `commit` is success.
  virtual Result<> CommitBlob(const std::function<Result<>()>& commit, const BlobRecord& blob) {
    auto committed = commit();
    if (!committed.ok() && committed.error().kind() != ErrorKind::kAlreadyExists) return committed;
    return PutBlob(blob);
  }
  virtual Result<std::optional<ImageRecord>> FindImage(const std::string& name) = 0;
  // Makes the image or replaces its target and labels; times are set here.
  virtual Result<> PutImage(const ImageRecord& image) = 0;
  // Keeps a snapshot that is about to be made from being collected until the request is through.
  virtual Result<> KeepSnapshot(std::string_view /*snapshotter*/, const std::string& /*key*/) {
    return {};
  }
};

// One step of a transfer, as containerd's transfer service reports it.
struct Progress {
  std::string event;  // "waiting" "downloading" "extracting" "complete" "already exists" …
  std::string name;   // what it is about: a reference, a digest
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;
  std::optional<oci::Descriptor> descriptor;
};
// Called from any of the threads that work; must be quick.
using ProgressCallback = std::function<void(const Progress&)>;

struct Library {
  content::BlobStore* blobs;
  ImageRecords* records;
  std::string ns;
  StopToken stop;
  ProgressCallback progress;  // may be empty
  // A layer that takes more than this uncompressed is refused.
  uint64_t max_layer_bytes = kMaxLayerBytes;

  void Report(Progress step) const {
    if (progress) progress(step);
  }
};

// Called with what an image will point to, when everything of it is on disk and before it is
// recorded; an error ends the work.
using BeforeRecord = std::function<Result<>(const oci::Descriptor& target)>;

// Labels that keep what a document names from being collected: containerd.io/gc.ref.content.*
Labels ReferenceLabels(const oci::Manifest& manifest);
Labels ReferenceLabels(const oci::Index& index);

// The manifest that `target` (a manifest or an index) stands for on `wanted`, read from the blobs.
struct ResolvedManifest {
  oci::Descriptor descriptor;
  oci::Manifest manifest;
};
Result<ResolvedManifest> ResolveManifest(const content::BlobStore& blobs,
                                         const oci::Descriptor& target,
                                         const oci::Platform& wanted);

}  // namespace gantry::images
