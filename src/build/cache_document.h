// SPDX-License-Identifier: Apache-2.0
//
// A build cache that is carried elsewhere, as BuildKit writes it (media type
// application/vnd.buildkit.cacheconfig.v0): layers, each on top of another one, and records, each
// with a step's key, the steps before it and the layer that it made. A record of gantry's also says
// what the history needs ("gantry"), which others pass over. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "client/containerd.h"
#include "engine/new_image.h"
#include "formats/json.h"

namespace gantry::build {

inline constexpr std::string_view kCacheConfigType = "application/vnd.buildkit.cacheconfig.v0";
// The member of an image's configuration that has the records of an inline cache, in base64: its
// layers are the image's.
inline constexpr const char* kInlineCache = "moby.buildkit.cache.v0";

struct CacheLayer {
  engine::NewLayer layer;
  int parent = -1;  // among the document's layers; -1: nothing is below
  std::string created;
};

struct CacheRecord {
  std::string key;  // 64 hexadecimal digits
  int parent = -1;  // among the document's records
  int layer = -1;   // -1: no file changed
  // "" in records of others.
  std::string created;  // RFC 3339
  std::string description;
};

struct CacheDocument {
  std::vector<CacheLayer> layers;
  std::vector<CacheRecord> records;
};

formats::Json ToJson(const CacheDocument& document);
// The records alone, for an inline cache.
formats::Json RecordsToJson(const CacheDocument& document);

// What somebody else has written: indexes that lead nowhere or in a loop, digests that are none, or
// too much of anything is kInvalidArgument.
Result<CacheDocument> ParseCacheDocument(std::string_view text);
// Of an inline cache: `layers` are the image's, from the lowest one on.
Result<CacheDocument> ParseInlineCache(std::string_view records,
                                       const std::vector<engine::NewLayer>& layers);

}  // namespace gantry::build
