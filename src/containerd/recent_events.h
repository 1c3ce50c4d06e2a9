// SPDX-License-Identifier: Apache-2.0
//
// The shims' last events, by which one that comes twice is known: a shim sends an event again when
// it got no answer, and a daemon may have died between the log and the answer. A repeated event is
// the same in every byte, its time to the nanosecond. The owner's lock guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "containerd/event_log.h"

namespace gantry::containerd {

class RecentEvents {
 public:
  // A shim has one event on its way at a time, so this is the number of shims that may all be cut
  // off at once. Of the log the last ones count, whoever published them.
  static constexpr size_t kCount = 4096;

  // Whether the event was here already; from now on it was. `log` may be null.
  bool Repeats(const ::containerd::types::Envelope& envelope, const EventLog* log);

 private:
  void Load(const EventLog& log);
  void Add(uint64_t hash);

  bool loaded_ = false;  // from the log, at the first event
  size_t oldest_ = 0;
  std::vector<uint64_t> hashes_;  // a ring
};

}  // namespace gantry::containerd
