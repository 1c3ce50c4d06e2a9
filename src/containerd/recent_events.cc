// SPDX-License-Identifier: Apache-2.0
#include "containerd/recent_events.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "base/log.h"

namespace gantry::containerd {
namespace {

constexpr size_t kReadBytes = size_t{256} << 10;

uint64_t HashOf(const ::containerd::types::Envelope& envelope) {
  return std::hash<std::string>()(envelope.SerializeAsString());
}

}  // namespace

bool RecentEvents::Repeats(const ::containerd::types::Envelope& envelope, const EventLog* log) {
  if (!std::exchange(loaded_, true) && log != nullptr) Load(*log);
  uint64_t hash = HashOf(envelope);
  if (std::find(hashes_.begin(), hashes_.end(), hash) != hashes_.end()) return true;
  Add(hash);
  return false;
}

void RecentEvents::Load(const EventLog& log) {
  auto oldest = log.Resolve("oldest");
  uint64_t next = log.next();
  uint64_t from = std::max(oldest.ok() ? *oldest : next, next > kCount ? next - kCount : 1);
  while (from < next) {
    auto events = log.Read(from, kReadBytes);
    if (!events.ok()) {
      log::Warning("looking for repeated events: {}", events.error().message());
      return;
    }
    for (const auto& event : *events) Add(HashOf(event));
    from += events->size();
  }
}

void RecentEvents::Add(uint64_t hash) {
  if (hashes_.size() < kCount) {
    hashes_.push_back(hash);
    return;
  }
  hashes_[oldest_] = hash;
  oldest_ = (oldest_ + 1) % kCount;
}

}  // namespace gantry::containerd
