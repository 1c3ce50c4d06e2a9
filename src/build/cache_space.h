// SPDX-License-Identifier: Apache-2.0
//
// How much of the build cache a prune leaves, by BuildKit's rules. Any thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "build/cache.h"

namespace gantry::build {

// Bytes; 0: no limit.
struct SpaceLimits {
  int64_t reserved = 0;   // this much always stays
  int64_t most = 0;       // of the cache
  int64_t free_disk = 0;  // of the file system
};
// The keys of the newest steps that fit into what is to be kept. `directory`: on the cache's file
// system.
Result<std::set<std::string>> KeysToKeep(std::vector<CachedStep> steps, const SpaceLimits& limits,
                                         const std::string& directory);

}  // namespace gantry::build
