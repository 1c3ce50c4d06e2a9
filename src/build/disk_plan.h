// SPDX-License-Identifier: Apache-2.0
//
// Which images and steps of the build cache go so that everything fits a budget, and why the others
// stay. Least recently used ones first; what would free nothing by itself, since others have the
// same parts, waits until it would. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/image_sizes.h"

namespace gantry::build {

struct DiskItem {
  enum class Kind { kImage, kBuildStep };
  Kind kind = Kind::kImage;
  std::string id;    // an image's id, a step's key
  std::string name;  // as users know it
  WallTime used_at{};
  std::vector<engine::DiskPart> parts;  // items share a part of the same name
  std::string needed_by;                // why it can't go; "" when it can
};

struct DiskNeed {
  int64_t budget = 0;  // bytes
  int64_t target = 0;  // what is aimed at once it is over the budget
  int64_t fixed = 0;   // bytes that are no item's and never go
  std::vector<DiskItem> items;
};

struct DiskDecision {
  DiskItem item;
  bool goes = false;
  int64_t freed = 0;   // bytes; of one that stays: what it would free if it alone went
  std::string reason;  // "used 3 days ago, nobody needs it"
};

struct DiskPlan {
  int64_t used = 0;   // bytes now
  int64_t after = 0;  // bytes once all that goes is gone
  // In the order in which they go, then those that stay, most recently used last.
  std::vector<DiskDecision> decisions;
};

DiskPlan MakeDiskPlan(const DiskNeed& need, WallTime now);

}  // namespace gantry::build
