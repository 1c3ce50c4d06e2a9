// SPDX-License-Identifier: Apache-2.0
//
// Where a build's cache is carried to and fetched from: a manifest, whose configuration is the
// cache (cache_document.h) or an image's with an inline one, and blobs by digest. Implementations:
// a registry, an image that is here already, a store of the client's (buildkit/client_cache.h). One
// thread at a time; calls block.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "client/containerd.h"
#include "engine/engine.h"
#include "engine/image_index.h"

namespace gantry::build {

class CachePlace {
 public:
  virtual ~CachePlace() = default;
  using Take = std::function<Result<>(std::string_view piece)>;

  // As users call it, for messages.
  virtual const std::string& name() const = 0;
  // The document that the place is named for. kNotFound.
  virtual Result<std::string> ReadManifest() = 0;
  // What comes is not checked. kNotFound.
  virtual Result<> ReadBlob(const client::Descriptor& blob, const Take& take) = 0;
  // `read` hands the blob's bytes from an offset on.
  using Read = std::function<Result<>(uint64_t offset, uint64_t size, const Take& take)>;
  virtual Result<> WriteBlob(const client::Descriptor& blob, const Read& read) = 0;
  // Also gives it the place's name.
  virtual Result<> WriteManifest(const client::Descriptor& blob, const std::string& text) = 0;
};

// `reference`: "HOST/NAME:TAG". kInvalidArgument.
Result<std::unique_ptr<CachePlace>> OpenRegistryCache(engine::Engine& engine,
                                                      const std::string& reference,
                                                      const client::Credentials& login,
                                                      const StopToken& stop);

// What is only read.
std::unique_ptr<CachePlace> OpenImageCache(engine::Engine& engine, engine::NamedImage image,
                                           std::string name);

}  // namespace gantry::build
