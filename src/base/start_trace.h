// SPDX-License-Identifier: Apache-2.0
//
// How long the steps of a container's start take, across processes: each notes its own in memory
// and appends them to BUNDLE/trace in one write at the end of its part. The container daemon makes
// that file; where it is missing (another daemon's bundle, a user's) nothing is written. Times are
// CLOCK_MONOTONIC, which all processes of a host share. One thread. docs/cli.md says what is kept.
//
//   PROCESS PID BEGIN END STEP…      nanoseconds; one line a step
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry {

struct TraceStep {
  std::string process;  // "engine", "containerd", "shim", "runtime", "gantry"
  int64_t pid = 0;
  int64_t begin = 0;  // nanoseconds of CLOCK_MONOTONIC
  int64_t end = 0;
  std::string name;
};

int64_t MonotonicNanos();

class StartTrace {
 public:
  explicit StartTrace(std::string_view process);

  // From `begin` until now.
  void Add(std::string_view step, int64_t begin);
  // The same from the end of the last lap, or from when this was made.
  void Lap(std::string_view step);

  // Appends what was gathered to the trace of this bundle, and forgets it. Nothing there: no error.
  Result<> AppendTo(const std::string& bundle);
  // Makes the file first.
  Result<> CreateIn(const std::string& bundle);
  std::vector<TraceStep> TakeSteps();

 private:
  std::string process_;
  int64_t lap_;
  std::vector<TraceStep> steps_;
};

// Lines that are none are left out.
std::vector<TraceStep> ParseTrace(std::string_view text);

}  // namespace gantry
