// SPDX-License-Identifier: Apache-2.0
//
// What builds have made and may be had again: a step by the digest of all that it depends on (its
// parent's key, the instruction with its variables put in, the contents that it copies). A step's
// layer, blob and snapshot, is held by a lease of the container daemon that lives as long as the
// step's record; the lease comes first and goes last, so that what a crash leaves is found by its
// name (docs/build.md). No image and no label of one has a say here. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/new_image.h"

namespace gantry::build {

struct CachedStep {
  std::string key;          // 64 hexadecimal digits
  std::string parent;       // the key of the step before
  std::string description;  // as the image's history has it
  std::string created;      // RFC 3339
  std::optional<engine::NewLayer> layer;
  std::string lease;  // "" without a layer
  int64_t size = 0;   // bytes of the snapshot
  WallTime created_at{};
  WallTime used_at{};
  int64_t uses = 0;
  bool in_use = false;  // by a build that runs
};

// What the leases' ids begin with.
inline constexpr std::string_view kLeasePrefix = "gantry-build-";

class Cache {
 public:
  explicit Cache(engine::Engine& engine) : engine_(engine) {}

  // Reads the records; leases without one, and directories of builds that a crash has left, go.
  Result<> Open();

  // A build that runs: what it has found or made is not pruned until it ends.
  class User {
   public:
    explicit User(Cache& cache) : cache_(cache) {}
    User(const User&) = delete;
    User& operator=(const User&) = delete;
    ~User();
    std::optional<CachedStep> Find(const std::string& key);
    Result<> Put(const CachedStep& step);

   private:
    Cache& cache_;
    std::vector<std::string> keys_;
  };

  std::vector<CachedStep> List() const;
  struct Pruned {
    std::vector<std::string> keys;
    int64_t bytes = 0;
  };
  // Those that no running build uses, for which `wanted` says so.
  Result<Pruned> Prune(const std::function<bool(const CachedStep&)>& wanted);

 private:
  struct Entry {
    CachedStep step;
    int users = 0;
    // Of what was made anew meanwhile, for the users there are.
    std::vector<std::string> old_leases;
  };
  bool IsWhole(const CachedStep& step);
  void DropLease(const std::string& lease);

  engine::Engine& engine_;
  mutable Mutex mutex_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace gantry::build
