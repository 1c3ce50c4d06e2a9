// SPDX-License-Identifier: Apache-2.0
#include "engine/image_holds.h"

namespace gantry::engine {

ImageHolds::Hold::~Hold() {
  if (holds_ == nullptr) return;
  MutexLock lock(holds_->mutex_);
  auto held = holds_->held_.find(id_);
  if (--held->second == 0) holds_->held_.erase(held);
}

std::optional<ImageHolds::Hold> ImageHolds::Take(const std::string& id) {
  MutexLock lock(mutex_);
  if (going_.contains(id)) return std::nullopt;
  ++held_[id];
  return Hold(this, id);
}

bool ImageHolds::IsHeld(const std::string& id) const {
  MutexLock lock(mutex_);
  return held_.contains(id);
}

bool ImageHolds::BeginRemoval(const std::string& id) {
  MutexLock lock(mutex_);
  return !held_.contains(id) && going_.insert(id).second;
}

void ImageHolds::EndRemoval(const std::string& id) {
  MutexLock lock(mutex_);
  going_.erase(id);
}

}  // namespace gantry::engine
