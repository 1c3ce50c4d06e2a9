// SPDX-License-Identifier: Apache-2.0
//
// The traces of the last starts (base/start_trace.h), for GET /containers/{id}/trace. They outlive
// their containers, so that one with --rm can be looked at as well. In memory, bounded. Any thread.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/start_trace.h"

namespace gantry::engine {

class StartTraces {
 public:
  // A start begins: an older trace of the container goes, but for the steps of its creation.
  void Begin(const std::string& id);
  void Add(const std::string& id, std::vector<TraceStep> steps);
  // By their begin; empty when nothing is known of it.
  std::vector<TraceStep> Of(const std::string& id) const;

 private:
  struct Trace {
    std::string id;
    bool started = false;
    std::vector<TraceStep> steps;
  };
  Trace& Find(const std::string& id) REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::deque<Trace> traces_ GUARDED_BY(mutex_);  // newest last
};

}  // namespace gantry::engine
