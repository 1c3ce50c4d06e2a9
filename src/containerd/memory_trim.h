// SPDX-License-Identifier: Apache-2.0
//
// Gives memory back that a start or a burst of work needed and an idle daemon doesn't: code that
// was mapped, and the allocator's free pages. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace gantry::containerd {

class MemoryTrim {
 public:
  // At most once in two seconds; else it does nothing.
  void AfterWork();

 private:
  std::atomic<int64_t> last_{0};  // of the steady clock, nanoseconds
};

}  // namespace gantry::containerd
