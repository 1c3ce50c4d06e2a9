// SPDX-License-Identifier: Apache-2.0
//
// A build's cache from and to other places (docs/build.md): what a build has made as a document
// with its layers, and steps that are taken from such a document. Any thread; calls block.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"
#include "build/cache.h"
#include "build/cache_document.h"
#include "build/cache_place.h"
#include "build/stage_state.h"
#include "engine/engine.h"
#include "engine/new_image.h"

namespace gantry::build {

// The steps that the stages came to, with the layers below them.
CacheDocument DocumentOfStages(const Cache& cache, const std::vector<StageState>& stages);

enum class CacheForm : uint8_t { kManifest, kIndex };  // an image's manifest, or an index of blobs
// Layers, configuration, manifest. Returns the manifest's descriptor; nothing for no layers.
Result<std::optional<client::Descriptor>> WriteCache(engine::Engine& engine,
                                                     const CacheDocument& document, CacheForm form,
                                                     CachePlace& place);

// Whatever `image` has of an inline cache is replaced by this one.
void SetInlineCache(const CacheDocument& document, StageState* image);

// A cache that was found elsewhere. Its layers are fetched when a step wants them.
class CacheImport {
 public:
  CacheImport(CacheDocument document, std::shared_ptr<CachePlace> place);
  const std::string& name() const { return place_->name(); }
  // nullptr: it has none that gantry has made.
  const CacheRecord* Find(const std::string& key) const;
  // A record's layer, whose digests are checked, into the store; what `directory` gets meanwhile
  // is removed. kInvalidArgument: it is not what the document says.
  Result<engine::NewLayer> FetchLayer(const CacheRecord& record, const engine::Lease& lease,
                                      BorrowedFd directory) const;

 private:
  const CacheDocument document_;
  const std::shared_ptr<CachePlace> place_;
  std::map<std::string, size_t> by_key_;
};

// kNotFound: there is none yet, or an image without one. kInvalidArgument for anything that a cache
// should not be.
Result<std::shared_ptr<const CacheImport>> ReadCache(std::shared_ptr<CachePlace> place);

}  // namespace gantry::build
