// SPDX-License-Identifier: Apache-2.0
//
// The directories of RUN --mount=type=cache, and those with a client's files, of which only what
// has changed comes again. Several of one name may be there: who wants one for itself while it is
// in use gets another. The directory is made first and its record written last; what has no record
// is discarded at the next start.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "build/cache.h"
#include "build/stage_state.h"
#include "engine/store.h"
#include "kernel/tree_size.h"
#include "wire/worker_pool.h"

namespace gantry::build {
namespace {

using Sharing = dockerfile::RunMount::Sharing;

// How often a step that waits for a locked cache looks whether its build is cancelled.
constexpr std::chrono::milliseconds kLockTick{100};

std::string MountKey(const CacheMountWanted& wanted, int number) {
  return HexDigest(fmt::format("{}\n{}\n{}\n{}", wanted.is_source ? "source" : "cache mount",
                               number, wanted.base, wanted.id));
}

}  // namespace

std::string Cache::MountsDirectory() const {
  return engine_.options().root + "/engine/build-caches";
}

Result<> Cache::DiscardLostMounts(const std::set<std::string>& known) {
  for (const std::string& name : TRY(ListDirectoryIfThere(MountsDirectory()))) {
    if (known.contains(name)) continue;
    log::Info("removing a cache that a build has not finished: {}", name);
    TRY(engine_.Discard(MountsDirectory() + "/" + name));
  }
  return {};
}

Cache::MountTurn Cache::ChooseMount(const CacheMountWanted& wanted, std::string* key) {
  for (int number = 0;; ++number) {
    *key = MountKey(wanted, number);
    auto found = entries_.find(*key);
    if (found == entries_.end()) return MountTurn::kMake;
    Entry& entry = found->second;
    bool shares = wanted.sharing == Sharing::kShared;
    if (entry.users == 0 || (shares && entry.shared && !entry.being_made)) {
      entry.shared = shares;
      return MountTurn::kTaken;
    }
    bool waits = wanted.sharing == Sharing::kLocked || (shares && entry.shared);
    if (waits) return MountTurn::kWait;
  }
}

Result<std::string> Cache::MakeMount(const std::string& key, const CacheMountWanted& wanted,
                                     const std::function<Result<>(BorrowedFd directory)>& fill) {
  CachedStep step;
  step.key = key;
  step.directory = RandomHex(8);
  step.is_source = wanted.is_source;
  step.description = (wanted.is_source ? "local source for " : "cached mount ") + wanted.id;
  step.created_at = step.used_at = WallClock::now();
  step.created = FormatRfc3339Nano(step.created_at);
  TRY(MakeDirectories(MountsDirectory(), 0700));
  std::string path = MountsDirectory() + "/" + step.directory;
  auto make = [&]() -> Result<> {
    TRY(MakeDirectories(path, 0755));
    TRY(fill(TRY(OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))));
    return engine_.store().PutBuildStep(key, ToJson(step).Dump());
  };
  Result<> made = make();
  if (!made.ok()) {
    Result<> discarded = engine_.Discard(path);
    if (!discarded.ok()) log::Warning("{}", discarded.error().message());
    return std::move(made).error();
  }
  MutexLock lock(mutex_);
  Entry& entry = entries_[key];
  entry.step = step;
  entry.being_made = false;
  mount_freed_.NotifyAll();
  return path;
}

Result<Cache::MountUse> Cache::TakeMount(const CacheMountWanted& wanted,
                                         const std::function<Result<>(BorrowedFd directory)>& fill,
                                         const StopToken& stop) {
  std::string key;
  {
    wire::WorkerPool::Blocked blocked;
    MutexLock lock(mutex_);
    MountTurn turn = ChooseMount(wanted, &key);
    while (turn == MountTurn::kWait) {
      if (stop.stop_requested()) {
        return MakeError(ErrorKind::kCancelled, "the build was cancelled");
      }
      (void)mount_freed_.WaitFor(mutex_, kLockTick);
      turn = ChooseMount(wanted, &key);
    }
    Entry& entry = entries_[key];
    ++entry.users;
    if (turn == MountTurn::kTaken) {
      ++entry.step.uses;
      entry.step.used_at = WallClock::now();
      return MountUse(this, key, MountsDirectory() + "/" + entry.step.directory);
    }
    entry.step.key = key;
    entry.shared = wanted.sharing == Sharing::kShared;
    entry.being_made = true;
  }
  Result<std::string> made = MakeMount(key, wanted, fill);
  if (made.ok()) return MountUse(this, key, *std::move(made));
  MutexLock lock(mutex_);
  entries_.erase(key);
  mount_freed_.NotifyAll();
  return std::move(made).error();
}

Cache::MountUse::~MountUse() {
  if (cache_ != nullptr) cache_->ReleaseMount(key_, size_);
}

void Cache::ReleaseMount(const std::string& key, std::optional<int64_t> size) {
  CachedStep step;
  {
    MutexLock lock(mutex_);
    step = entries_[key].step;
  }
  auto note = [&]() -> Result<> {
    std::string path = MountsDirectory() + "/" + step.directory;
    step.size = size ? *size : TRY(kernel::TreeSize(TRY(OpenFile(path, O_RDONLY | O_DIRECTORY))));
    step.used_at = WallClock::now();
    return engine_.store().PutBuildStep(key, ToJson(step).Dump());
  };
  Result<> noted = note();
  if (!noted.ok()) log::Warning("{}: {}", step.description, noted.error().message());
  MutexLock lock(mutex_);
  Entry& entry = entries_[key];
  entry.step.size = step.size;
  entry.step.used_at = step.used_at;
  --entry.users;
  mount_freed_.NotifyAll();
}

}  // namespace gantry::build
