// SPDX-License-Identifier: Apache-2.0
//
// When garbage is collected: the arithmetic of containerd's scheduler (its settings are those of
// the table io.containerd.gc.v1.scheduler, docs/garbage-collection.md), without its timer, which
// fires also when nothing happens. Plain data; the owner's lock guards it.
#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"

namespace gantry::containerd {

struct ScheduleSettings {
  // The part of the time that collections may take, of what they took so far; up to 0.5. 0: one a
  // second.
  double pause_threshold = 0.02;
  // After so many deletions one is due after `delay`, however long the last one took; with fewer,
  // at the time that the pause threshold gives. 0: always then.
  int deletion_threshold = 1;
  // After so many changes one is due as after a deletion; 0: never.
  int mutation_threshold = 100;
  // Deletions come in groups; one collection serves them all.
  std::chrono::milliseconds delay{500};
  // The first one, from the start on; 0: none before it is needed.
  std::chrono::milliseconds startup_delay{0};
};

class CollectionSchedule {
 public:
  using Time = SteadyClock::time_point;

  CollectionSchedule(ScheduleSettings settings, Time now);

  // A record changed, or was deleted as well. Says whether due() is new.
  bool Changed(Time now);
  bool Deleted(Time now);
  // Begun: what is changed from now on is for the next one.
  void Begun();
  void Ended(Time begin, Time end);

  // When the next one is to begin, if any is wanted.
  std::optional<Time> due() const { return due_; }

 private:
  bool MakeDue(Time at);
  // Where the last collection leaves enough time for everybody else.
  Time NextSlot(Time now) const;

  ScheduleSettings settings_;
  int deletions_ = 0;  // since the last collection began, as the next
  int changes_ = 0;
  std::optional<Time> due_;
  std::optional<Time> last_end_;
  std::chrono::nanoseconds taken_{0};
  int collections_ = 0;
};

}  // namespace gantry::containerd
