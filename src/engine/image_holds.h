// SPDX-License-Identifier: Apache-2.0
//
// Who uses an image that no container's record names yet: a container that is being made, a build.
// Whoever removes images unasked (build/disk_budget.h) asks first. No lock is held while an image
// is removed: a removal that has begun turns new users away, a user keeps removals from beginning.
// Any thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/mutex.h"

namespace gantry::engine {

class ImageHolds {
 public:
  // Ends with the object.
  class Hold {
   public:
    Hold(Hold&& other) noexcept
        : holds_(std::exchange(other.holds_, nullptr)), id_(std::move(other.id_)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold();

   private:
    friend class ImageHolds;
    Hold(ImageHolds* holds, std::string id) : holds_(holds), id_(std::move(id)) {}
    ImageHolds* holds_;
    std::string id_;
  };

  // Nothing while the image is being removed: it is as good as gone.
  std::optional<Hold> Take(const std::string& id);
  bool IsHeld(const std::string& id) const;

  // False when somebody holds it.
  bool BeginRemoval(const std::string& id);
  void EndRemoval(const std::string& id);

 private:
  mutable Mutex mutex_;
  std::map<std::string, int> held_ GUARDED_BY(mutex_);
  std::set<std::string> going_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
