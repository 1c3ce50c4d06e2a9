// SPDX-License-Identifier: Apache-2.0
#include "build/cache.h"

#include <set>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "build/context.h"
#include "engine/store.h"
#include "formats/json.h"

namespace gantry::build {
namespace {

using formats::Json;
using formats::JsonReader;

// More steps than this are not kept: the ones used longest ago go.
constexpr size_t kMaxSteps = 10'000;

Result<CachedStep> FromJson(const std::string& key, const Json& json) {
  CachedStep step;
  step.key = key;
  int64_t created_at = 0;
  int64_t used_at = 0;
  JsonReader reader(json, "step");
  reader.Field("parent", &step.parent);
  reader.Field("description", &step.description);
  reader.Field("created", &step.created);
  reader.Field("lease", &step.lease);
  reader.Field("size", &step.size);
  reader.Field("createdAt", &created_at);
  reader.Field("usedAt", &used_at);
  reader.Field("uses", &step.uses);
  reader.Field("directory", &step.directory);
  reader.Field("source", &step.is_source);
  if (reader.Raw("layer") != nullptr) {
    engine::NewLayer& layer = step.layer.emplace();
    reader.Object("layer", [&](JsonReader& inner) {
      inner.Field("mediaType", &layer.blob.media_type);
      inner.Field("digest", &layer.blob.digest);
      inner.Field("size", &layer.blob.size);
      inner.Field("diffId", &layer.diff_id);
    });
  }
  TRY(reader.Finish());
  step.created_at = FromUnixNanos(created_at);
  step.used_at = FromUnixNanos(used_at);
  return step;
}

}  // namespace

Result<CachedStep> ParseCachedStep(const std::string& key, std::string_view text) {
  return FromJson(key, TRY(Json::Parse(text)));
}

Json ToJson(const CachedStep& step) {
  Json json = Json::MakeObject({{"parent", step.parent},
                                {"description", step.description},
                                {"created", step.created},
                                {"lease", step.lease},
                                {"size", step.size},
                                {"createdAt", UnixNanos(step.created_at)},
                                {"usedAt", UnixNanos(step.used_at)},
                                {"uses", step.uses}});
  if (step.layer) {
    json.Set("layer", Json::MakeObject({{"mediaType", step.layer->blob.media_type},
                                        {"digest", step.layer->blob.digest},
                                        {"size", step.layer->blob.size},
                                        {"diffId", step.layer->diff_id}}));
  }
  if (!step.directory.empty()) json.Set("directory", step.directory);
  if (step.is_source) json.Set("source", true);
  return json;
}

Result<> Cache::Open() {
  std::map<std::string, Entry> entries;
  std::set<std::string> leases;
  std::set<std::string> directories;
  std::vector<std::string> lost;  // whose directory somebody has taken away
  for (const auto& [key, text] : TRY(engine_.store().ListBuildSteps())) {
    CachedStep step = TRY_WITH(ParseCachedStep(key, text), "reading build step {}", key);
    if (!step.lease.empty()) leases.insert(step.lease);
    if (!step.directory.empty()) {
      if (!PathExists(MountsDirectory() + "/" + step.directory)) {
        lost.push_back(key);
        continue;
      }
      directories.insert(step.directory);
    }
    entries.emplace(key, Entry{std::move(step)});
  }
  for (const std::string& lease : TRY(engine_.containerd().ListLeases())) {
    if (!lease.starts_with(kLeasePrefix) || leases.contains(lease)) continue;
    log::Info("removing what a build has left: {}", lease);
    DropLease(lease);
  }
  for (const client::Image& image : TRY(engine_.containerd().ListImages())) {
    if (!image.name.starts_with(kLayoutPrefix)) continue;
    log::Info("removing what a build has left: {}", image.name);
    TRY(engine_.containerd().DeleteImage(image.name, /*collect=*/false));
  }
  TRY(engine_.store().EraseBuildSteps(lost));
  TRY(DiscardContexts(engine_));
  TRY(DiscardLostMounts(directories));
  MutexLock lock(mutex_);
  entries_ = std::move(entries);
  return {};
}

void Cache::DropLease(const std::string& lease) {
  if (lease.empty()) return;
  if (!engine_.containerd().DeleteLease(lease).ok()) engine_.EndLeasesLater({lease});
}

// Somebody may have taken a layer from the container daemon's store behind our back.
bool Cache::IsWhole(const CachedStep& step) {
  if (!step.layer) return true;
  return engine_.containerd().GetBlob(step.layer->blob.digest).ok();
}

Cache::User::~User() {
  std::vector<std::string> leases;
  {
    MutexLock lock(cache_.mutex_);
    for (const std::string& key : keys_) {
      auto found = cache_.entries_.find(key);
      if (found == cache_.entries_.end() || --found->second.users > 0) continue;
      for (std::string& lease : std::exchange(found->second.old_leases, {})) {
        leases.push_back(std::move(lease));
      }
    }
  }
  for (const std::string& lease : leases) cache_.DropLease(lease);
}

std::optional<CachedStep> Cache::User::Find(const std::string& key) {
  CachedStep step;
  {
    MutexLock lock(cache_.mutex_);
    auto found = cache_.entries_.find(key);
    if (found == cache_.entries_.end()) return std::nullopt;
    ++found->second.users;
    keys_.push_back(key);
    // Not worth a commit each: after a crash a step seems older than it is.
    found->second.step.used_at = WallClock::now();
    ++found->second.step.uses;
    step = found->second.step;
  }
  if (!cache_.IsWhole(step)) return std::nullopt;
  return step;
}

Result<> Cache::User::Put(const CachedStep& step) {
  TRY(cache_.engine_.store().PutBuildStep(step.key, ToJson(step).Dump()));
  std::string replaced;
  size_t count = 0;
  {
    MutexLock lock(cache_.mutex_);
    Entry& entry = cache_.entries_[step.key];
    if (entry.step.lease != step.lease) replaced = entry.step.lease;
    if (entry.users > 0 && !replaced.empty()) {
      entry.old_leases.push_back(std::exchange(replaced, {}));
    }
    entry.step = step;
    ++entry.users;
    keys_.push_back(step.key);
    count = cache_.entries_.size();
  }
  cache_.DropLease(replaced);
  if (count <= kMaxSteps) return {};
  // A tenth at once, so that this is rare.
  std::multimap<WallTime, std::string> by_use;
  for (const CachedStep& old : cache_.List()) by_use.emplace(old.used_at, old.key);
  std::set<std::string> oldest;
  for (const auto& [used, key] : by_use) {
    if (oldest.size() >= kMaxSteps / 10) break;
    oldest.insert(key);
  }
  TRY(cache_.Prune([&](const CachedStep& one) { return oldest.contains(one.key); }));
  return {};
}

std::vector<CachedStep> Cache::List() const {
  std::vector<CachedStep> out;
  MutexLock lock(mutex_);
  for (const auto& [key, entry] : entries_) {
    if (entry.being_made) continue;
    out.push_back(entry.step);
    out.back().in_use = entry.users > 0;
  }
  return out;
}

std::optional<CachedStep> Cache::Get(const std::string& key) const {
  MutexLock lock(mutex_);
  auto found = entries_.find(key);
  if (found == entries_.end() || found->second.being_made) return std::nullopt;
  return found->second.step;
}

Result<Cache::Pruned> Cache::Prune(const std::function<bool(const CachedStep&)>& wanted) {
  Pruned pruned;
  std::vector<std::string> leases;
  std::vector<std::string> directories;
  {
    MutexLock lock(mutex_);
    for (auto at = entries_.begin(); at != entries_.end();) {
      const CachedStep& step = at->second.step;
      if (at->second.users > 0 || !wanted(step)) {
        ++at;
        continue;
      }
      pruned.keys.push_back(step.key);
      pruned.bytes += step.size;
      if (!step.lease.empty()) leases.push_back(step.lease);
      if (!step.directory.empty()) directories.push_back(step.directory);
      at = entries_.erase(at);
    }
  }
  // A crash after this leaves leases and directories without a record, which the next start ends.
  TRY(engine_.store().EraseBuildSteps(pruned.keys));
  for (const std::string& lease : leases) DropLease(lease);
  for (const std::string& directory : directories) {
    TRY(engine_.Discard(MountsDirectory() + "/" + directory));
  }
  return pruned;
}

}  // namespace gantry::build
