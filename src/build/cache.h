// SPDX-License-Identifier: Apache-2.0
//
// What builds have made and may be had again: a step by the digest of all that it depends on (its
// parent's key, the instruction with its variables put in, the contents that it copies). A step's
// layer, blob and snapshot, is held by a lease of the container daemon that lives as long as the
// step's record; the lease comes first and goes last, so that what a crash leaves is found by its
// name (docs/build.md). No image and no label of one has a say here. Beside them the directories of
// RUN --mount=type=cache, which live as long as their records, too. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "dockerfile/run_mount.h"
#include "engine/engine.h"
#include "engine/new_image.h"
#include "formats/json.h"

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
  // Of a cache mount or a client's files: the directory below ROOT/engine/build-caches. Then key
  // and description are all else that it has.
  std::string directory;
  bool is_source = false;  // a client's files

  // In BuildKit's words.
  const char* type() const {
    return directory.empty() ? "regular" : is_source ? "source.local" : "exec.cachemount";
  }
};

// What a RUN wants to be shown, or what a client's files are received into.
struct CacheMountWanted {
  std::string id;
  bool is_source = false;
  std::string base;  // of what a new one is filled with; part of its identity
  dockerfile::RunMount::Sharing sharing = dockerfile::RunMount::Sharing::kShared;
};

// What the leases' ids begin with.
inline constexpr std::string_view kLeasePrefix = "gantry-build-";
// What images are called that a build has for its own time.
inline constexpr std::string_view kLayoutPrefix = "gantry-build-layout-";

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
    Cache& cache() { return cache_; }

   private:
    Cache& cache_;
    std::vector<std::string> keys_;
  };

  // A cache mount that a step uses: nobody prunes it, and nobody else gets it unless both share.
  class MountUse {
   public:
    MountUse(MountUse&& other) noexcept
        : cache_(std::exchange(other.cache_, nullptr)),
          key_(std::move(other.key_)),
          path_(std::move(other.path_)),
          size_(other.size_) {}
    MountUse& operator=(MountUse&&) = delete;
    ~MountUse();
    // The directory with the files; opened without following links.
    const std::string& path() const { return path_; }
    // Of all files, by who knows it; else they are counted in the end.
    void SetSize(int64_t bytes) { size_ = bytes; }

   private:
    friend class Cache;
    MountUse(Cache* cache, std::string key, std::string path)
        : cache_(cache), key_(std::move(key)), path_(std::move(path)) {}
    Cache* cache_;
    std::string key_;
    std::string path_;
    std::optional<int64_t> size_;
  };
  // One that is free, or is shared, or is made anew and filled by `fill`. One that is to be locked
  // is waited for.
  Result<MountUse> TakeMount(const CacheMountWanted& wanted,
                             const std::function<Result<>(BorrowedFd directory)>& fill,
                             const StopToken& stop);

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
    // Of a cache mount that is in use.
    bool shared = false;
    bool being_made = false;
  };
  enum class MountTurn : uint8_t { kTaken, kMake, kWait };
  // What becomes of a wish for a cache mount; `key` is the one that it is about.
  MountTurn ChooseMount(const CacheMountWanted& wanted, std::string* key) REQUIRES(mutex_);
  Result<std::string> MakeMount(const std::string& key, const CacheMountWanted& wanted,
                                const std::function<Result<>(BorrowedFd directory)>& fill);
  void ReleaseMount(const std::string& key, std::optional<int64_t> size);
  std::string MountsDirectory() const;
  Result<> DiscardLostMounts(const std::set<std::string>& known);
  bool IsWhole(const CachedStep& step);
  void DropLease(const std::string& lease);

  engine::Engine& engine_;
  mutable Mutex mutex_;
  CondVar mount_freed_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);
};

// As the database keeps it.
formats::Json ToJson(const CachedStep& step);

}  // namespace gantry::build
