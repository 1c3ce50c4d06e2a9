// SPDX-License-Identifier: Apache-2.0
//
// How much of what a step's command writes to one of its streams is told: so much in all, so much a
// second, as BuildKit has it. What is left out at the end is kept, for a command that fails. One
// thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace gantry::buildkit {

class LogLimit {
 public:
  // Bytes; -1: no limit. The daemon's BUILDKIT_STEP_LOG_MAX_SIZE and BUILDKIT_STEP_LOG_MAX_SPEED.
  struct Bounds {
    int64_t size = int64_t{2} << 20;
    int64_t per_second = int64_t{200} << 10;
  };
  static Bounds FromEnvironment();

  LogLimit(Bounds bounds, SteadyClock::time_point begun) : bounds_(bounds), begun_(begun) {}

  // What of `text` is told, with a line that says so where the rest is not.
  std::string Take(std::string_view text, SteadyClock::time_point now);
  // The last of what was written, once something was left out: 256 KiB at most.
  std::string TakeRest();

 private:
  struct Allowed {
    int64_t bytes = -1;
    bool by_speed = false;
  };
  Allowed AllowedAt(SteadyClock::time_point now) const;

  const Bounds bounds_;
  const SteadyClock::time_point begun_;
  int64_t written_ = 0;
  bool clipping_ = false;
  bool keeps_ = false;
  std::string kept_;
};

}  // namespace gantry::buildkit
