// SPDX-License-Identifier: Apache-2.0
//
// Layers on their way from a registry to the extraction: a downloader says how much of a layer is
// in its file, the extraction reads as far as that and waits for more. What is read is not verified
// yet; Await() says when it is. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "content/blob_store.h"
#include "formats/digest.h"

namespace gantry::images {

// One layer. The downloader calls Begin, Advance and Restart, and in any case Finish.
class LayerFeed {
 public:
  void Begin(UniqueFd data, uint64_t available);
  void Advance(uint64_t available);
  // What was there is gone: readers fail with kAborted.
  void Restart();
  // The first call counts.
  void Finish(Result<> result);

  // Blocks until Finish().
  Result<> Await();
  // Blocks until there is something to read. Nothing is returned for a layer that did not have to
  // be brought: it is in the store.
  Result<std::unique_ptr<ByteSource>> Open();
  // Nobody will open it any more.
  void Close();

 private:
  friend class FeedSource;
  Mutex mutex_;
  CondVar changed_;
  std::shared_ptr<UniqueFd> data_ GUARDED_BY(mutex_);
  uint64_t available_ GUARDED_BY(mutex_) = 0;
  uint64_t generation_ GUARDED_BY(mutex_) = 0;
  std::optional<Result<>> result_ GUARDED_BY(mutex_);
};

// The bytes of one layer for an extraction.
struct LayerBytes {
  std::unique_ptr<ByteSource> source;
  // They are hashed by whoever brings them, and Await() says whether the digest is right. What has
  // been on the disk for longer may have changed there.
  bool hashed = false;
};

// Where an extraction gets its layers from: the store, and feeds for those that are on their way.
class LayerSupply {
 public:
  explicit LayerSupply(const content::BlobStore* blobs) : blobs_(blobs) {}
  // Before anybody reads. The feed of a digest that has one already is that one.
  LayerFeed* AddFeed(const formats::Digest& digest);
  void FinishAll(const Error& error);

  Result<LayerBytes> Open(const formats::Digest& digest);
  // Until the layer is in the store, verified.
  Result<> Await(const formats::Digest& digest);

 private:
  const content::BlobStore* const blobs_;
  std::map<formats::Digest, LayerFeed> feeds_;
};

}  // namespace gantry::images
