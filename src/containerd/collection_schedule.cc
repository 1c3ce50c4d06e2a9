// SPDX-License-Identifier: Apache-2.0
#include "containerd/collection_schedule.h"

#include <algorithm>

namespace gantry::containerd {
namespace {

using namespace std::chrono_literals;

constexpr double kMaxPause = 0.5;
// A collection of nothing takes no time; they are not repeated at once for that.
constexpr std::chrono::nanoseconds kLeastTaken = 5ms;

}  // namespace

CollectionSchedule::CollectionSchedule(ScheduleSettings settings, Time now) : settings_(settings) {
  settings_.pause_threshold = std::clamp(settings_.pause_threshold, 0.0, kMaxPause);
  if (settings_.startup_delay > 0ms) due_ = now + settings_.startup_delay;
}

bool CollectionSchedule::Changed(Time now) {
  ++changes_;
  bool many = settings_.mutation_threshold > 0 && changes_ >= settings_.mutation_threshold;
  return many && MakeDue(NextSlot(now));
}

bool CollectionSchedule::Deleted(Time now) {
  ++deletions_;
  bool many = settings_.deletion_threshold > 0 && deletions_ >= settings_.deletion_threshold;
  return MakeDue(many ? now + settings_.delay : NextSlot(now));
}

void CollectionSchedule::Begun() {
  deletions_ = changes_ = 0;
  due_.reset();
}

void CollectionSchedule::Ended(Time begin, Time end) {
  last_end_ = end;
  taken_ += end - begin;
  ++collections_;
}

bool CollectionSchedule::MakeDue(Time at) {
  if (due_.has_value() && *due_ <= at) return false;
  due_ = at;
  return true;
}

CollectionSchedule::Time CollectionSchedule::NextSlot(Time now) const {
  if (!last_end_.has_value()) return now + settings_.delay;
  std::chrono::nanoseconds interval = 1s;
  if (settings_.pause_threshold > 0) {
    double average = static_cast<double>(std::max(taken_ / collections_, kLeastTaken).count());
    interval = std::chrono::nanoseconds(
        static_cast<int64_t>(average / settings_.pause_threshold - average));
  }
  return std::max(now, *last_end_ + interval);
}

}  // namespace gantry::containerd
