// SPDX-License-Identifier: Apache-2.0
//
// How long what the engine does takes, and how often: for the daemon's metrics. What failed is not
// counted, as in docker. Any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"

namespace gantry::engine {

class ActionTimes {
 public:
  // Prometheus' usual bounds, in seconds.
  static constexpr std::array<double, 11> kBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                     0.5,   1,    2.5,   5,    10};
  struct Histogram {
    std::array<int64_t, kBounds.size()> at_most{};  // each with all that is below it
    int64_t count = 0;
    double seconds = 0;
  };

  void Add(std::string_view action, std::chrono::nanoseconds took);
  Histogram Of(std::string_view action) const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, Histogram, std::less<>> actions_ GUARDED_BY(mutex_);
};

// Counts from its making until Done(); without that it was nothing.
class ActionTimer {
 public:
  ActionTimer(ActionTimes& times, std::string_view action) : times_(times), action_(action) {}
  void Done() { times_.Add(action_, SteadyClock::now() - begin_); }

 private:
  ActionTimes& times_;
  const std::string_view action_;
  const SteadyClock::time_point begin_ = SteadyClock::now();
};

}  // namespace gantry::engine
