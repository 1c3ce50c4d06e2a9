// SPDX-License-Identifier: Apache-2.0
#include "images/early_layers.h"

#include <algorithm>
#include <utility>

#include "formats/compression/compression.h"

namespace gantry::images {
namespace {

// One keeps up with what comes; another one takes the next file while the last one ends.
constexpr size_t kExtractionsAtOnce = 2;
// Each holds a descriptor.
constexpr size_t kMaxWaiting = 64;

}  // namespace

EarlyLayers::EarlyLayers(const Library& library, const std::vector<snapshots::Snapshotter*>& into)
    : library_(library) {
  std::copy_if(into.begin(), into.end(), std::back_inserter(into_),
               [](const snapshots::Snapshotter* one) { return one->CanRebase(); });
}

EarlyLayers::~EarlyLayers() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    stop_ = true;
    jobs_.clear();
    // Those under way end at their next read.
    for (File& file : files_) file.feed.Restart();
    threads.swap(threads_);
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads) thread.join();
}

LayerFeed* EarlyLayers::Begin(UniqueFd data, std::string_view first_bytes) {
  // A JSON document is the other thing that archives are made of.
  if (into_.empty() || first_bytes.starts_with('{')) return nullptr;
  MutexLock lock(mutex_);
  if (jobs_.size() >= kMaxWaiting) return nullptr;
  File& file = files_.emplace_back();
  file.feed.Begin(std::move(data), 0);
  // Its digest is then that of the blob, which its writer reckons.
  bool plain = formats::compression::Detect(first_bytes) == formats::compression::Kind::kNone;
  file.hashing = plain ? Hashing::kNone : Hashing::kWhole;
  file.left = static_cast<int>(into_.size());
  for (snapshots::Snapshotter* snapshotter : into_) jobs_.push_back({&file, snapshotter});
  if (threads_.size() < kExtractionsAtOnce) threads_.emplace_back([this] { Work(); });
  changed_.NotifyAll();
  return &file.feed;
}

void EarlyLayers::Name(const LayerFeed* feed, const formats::Digest& digest) {
  MutexLock lock(mutex_);
  auto file = std::find_if(files_.rbegin(), files_.rend(),
                           [&](const File& one) { return &one.feed == feed; });
  if (file != files_.rend()) named_.emplace(digest, &*file);
}

void EarlyLayers::Work() {
  for (;;) {
    Job job{};
    {
      MutexLock lock(mutex_);
      while (jobs_.empty() && !stop_) changed_.Wait(mutex_);
      if (stop_) return;
      job = jobs_.front();
      jobs_.pop_front();
    }
    auto extract = [&]() -> Result<std::unique_ptr<StagedLayer>> {
      auto source = TRY(job.file->feed.Open());
      if (source == nullptr) return std::unique_ptr<StagedLayer>();
      auto staged = TRY(StagedLayer::Extract(library_, *job.snapshotter, "",
                                             {{std::move(source), true}, job.file->hashing}));
      TRY(job.file->feed.Await());
      return staged;
    };
    // What is wrong with it, if it is a layer, is found and told when it is unpacked.
    auto staged = extract();
    MutexLock lock(mutex_);
    if (staged.ok() && *staged != nullptr) {
      job.file->staged.emplace_back(job.snapshotter, *std::move(staged));
    }
    if (--job.file->left == 0) job.file->feed.Close();
    changed_.NotifyAll();
  }
}

std::unique_ptr<StagedLayer> EarlyLayers::Take(const snapshots::Snapshotter& snapshotter,
                                               const formats::Digest& digest) {
  MutexLock lock(mutex_);
  auto named = named_.find(digest);
  if (named == named_.end()) return nullptr;
  File& file = *named->second;
  while (file.left > 0) changed_.Wait(mutex_);
  for (auto& [owner, staged] : file.staged) {
    if (owner == &snapshotter) return std::move(staged);
  }
  return nullptr;
}

}  // namespace gantry::images
