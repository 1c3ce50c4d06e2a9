// SPDX-License-Identifier: Apache-2.0
#include "engine/action_times.h"

namespace gantry::engine {

void ActionTimes::Add(std::string_view action, std::chrono::nanoseconds took) {
  double seconds = std::chrono::duration<double>(took).count();
  MutexLock lock(mutex_);
  auto found = actions_.find(action);
  if (found == actions_.end()) found = actions_.emplace(action, Histogram{}).first;
  Histogram& histogram = found->second;
  ++histogram.count;
  histogram.seconds += seconds;
  for (size_t i = 0; i < kBounds.size(); ++i) histogram.at_most[i] += seconds <= kBounds[i] ? 1 : 0;
}

ActionTimes::Histogram ActionTimes::Of(std::string_view action) const {
  MutexLock lock(mutex_);
  auto found = actions_.find(action);
  return found == actions_.end() ? Histogram{} : found->second;
}

}  // namespace gantry::engine
