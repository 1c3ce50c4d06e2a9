// SPDX-License-Identifier: Apache-2.0
//
// The durable log of docker's events: ROOT/engine/events.log, one JSON object a line, appended with
// one write(2) an event, so that kill -9 loses none and no start waits for a database. A full file
// becomes events.log.1. Every event has a number and a time of its own, both always rising, also
// across restarts and a clock that is set back: a reader that keeps the last number it saw, or a
// client that asks for what was after the last time it saw, misses nothing and sees nothing twice,
// however slow it is. Any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "engine/event.h"

namespace gantry::engine {

struct NumberedEvent {
  uint64_t number = 0;
  Event event;
};

class EventLog {
 public:
  // Continues the log in `directory`, which exists. A line torn by a power cut is skipped.
  static Result<std::unique_ptr<EventLog>> Open(const std::string& directory);

  // Its time is moved on when it is not later than the one before. A failed write is logged; the
  // event still reaches the listeners.
  void Append(const Event& event);

  // Called for every later event, in order, in the thread that appends; must not block or append.
  using Listener = std::function<void(const NumberedEvent&)>;
  uint64_t Listen(Listener listener);
  // No call runs any more when this returns.
  void Unlisten(uint64_t id);

  // Events with a greater number, oldest first, at most `limit`.
  Result<std::vector<NumberedEvent>> After(uint64_t number, size_t limit) const;
  uint64_t last_number() const;
  // Whether one of this type, action and actor is among the last events, at its time or later.
  // Of events about a container, also of this container; of an exec, of this one; of a signal, of
  // this one.
  bool HasRecent(const Event& event) const;
  // What was told before is not among them.
  WallTime recent_since() const;
  int64_t listeners() const;
  // A number that all events since `time` are greater than; near it when `time` is not long ago.
  uint64_t NumberBefore(WallTime time) const;

 private:
  explicit EventLog(std::string path) : path_(std::move(path)) {}
  Result<> OpenFile() REQUIRES(mutex_);
  void Rotate() REQUIRES(mutex_);
  // Calls `take` for each event of a file with a greater number; stops when it returns false.
  static Result<> ReadLines(const std::string& path, uint64_t after,
                            const std::function<bool(NumberedEvent)>& take);

  const std::string path_;
  mutable Mutex mutex_;
  UniqueFd file_ GUARDED_BY(mutex_);
  size_t file_size_ GUARDED_BY(mutex_) = 0;
  uint64_t last_ GUARDED_BY(mutex_) = 0;
  WallTime last_time_ GUARDED_BY(mutex_){};
  std::deque<NumberedEvent> recent_ GUARDED_BY(mutex_);
  uint64_t next_listener_ GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Listener> listeners_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
