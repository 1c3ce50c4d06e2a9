// SPDX-License-Identifier: Apache-2.0
#include "engine/start_traces.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace gantry::engine {
namespace {

constexpr size_t kMaxTraces = 64;
constexpr size_t kMaxSteps = 200;  // of one start

}  // namespace

StartTraces::Trace& StartTraces::Find(const std::string& id) {
  auto known = std::find_if(traces_.begin(), traces_.end(),
                            [&](const Trace& trace) { return trace.id == id; });
  if (known != traces_.end()) return *known;
  if (traces_.size() == kMaxTraces) traces_.pop_front();
  traces_.push_back({id, false, {}});
  return traces_.back();
}

void StartTraces::Begin(const std::string& id) {
  MutexLock lock(mutex_);
  Trace& trace = Find(id);
  if (trace.started) trace.steps.clear();
  trace.started = true;
}

void StartTraces::Add(const std::string& id, std::vector<TraceStep> steps) {
  MutexLock lock(mutex_);
  Trace& trace = Find(id);
  if (trace.steps.size() + steps.size() > kMaxSteps) return;
  std::move(steps.begin(), steps.end(), std::back_inserter(trace.steps));
}

std::vector<TraceStep> StartTraces::Of(const std::string& id) const {
  MutexLock lock(mutex_);
  for (const Trace& trace : traces_) {
    if (trace.id != id) continue;
    std::vector<TraceStep> steps = trace.steps;
    std::stable_sort(steps.begin(), steps.end(),
                     [](const TraceStep& a, const TraceStep& b) { return a.begin < b.begin; });
    return steps;
  }
  return {};
}

}  // namespace gantry::engine
