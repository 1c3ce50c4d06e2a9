// SPDX-License-Identifier: Apache-2.0
#include "containerd/memory_trim.h"

#include <malloc.h>

#include "base/clock.h"
#include "kernel/own_code.h"

namespace gantry::containerd {
namespace {

constexpr std::chrono::nanoseconds kTrimEvery = std::chrono::seconds(2);

}  // namespace

void MemoryTrim::AfterWork() {
  std::chrono::nanoseconds now = SteadyClock::now().time_since_epoch();
  int64_t last = last_.load();
  bool soon = last != 0 && now.count() - last < kTrimEvery.count();
  if (soon || !last_.compare_exchange_strong(last, now.count())) return;
  ::malloc_trim(0);
  kernel::UnmapOwnCode();
}

}  // namespace gantry::containerd
