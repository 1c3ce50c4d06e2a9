// SPDX-License-Identifier: Apache-2.0
//
// The images of the store as users count them: all names of one image together, how much of its
// size it shares with others, how many containers were made from it. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"

namespace gantry::engine {

struct ImageUsage {
  std::shared_ptr<const ImageDocuments> documents;
  client::Descriptor target;         // what the names point at: an index or a manifest
  std::vector<std::string> names;    // as the store has them
  std::vector<std::string> tags;     // "busybox:latest"
  std::vector<std::string> digests;  // "busybox@sha256:…"
  WallTime tagged_at{};              // the newest of its names
  std::shared_ptr<const DiskParts> disk;
  int64_t shared = 0;  // bytes of parts that other images have too
  int64_t containers = 0;

  const std::string& id() const { return documents->id; }
  bool dangling() const { return tags.empty(); }
  // Of its configuration.
  WallTime created() const;
};

struct ImageUsages {
  std::vector<ImageUsage> images;  // by id
  int64_t disk_bytes = 0;          // each part once
  int64_t unused_bytes = 0;        // of that, what no image with a container has
};

Result<ImageUsages> ListImageUsage(Engine& engine);

}  // namespace gantry::engine
