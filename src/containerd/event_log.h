// SPDX-License-Identifier: Apache-2.0
//
// The durable log of events (docs/events.md): every event gets the next number, and is in a file
// before anybody hears of it, so that a subscriber that comes back with its cursor misses nothing,
// whether it or this daemon was away. The log is bounded: the oldest segment goes when there are
// too many. Any thread.
//
//   DIRECTORY/id                  16 hex digits, made once: cursors of another log are refused
//   DIRECTORY/NNNNNNNNNNNNNNNNNNNN.log   a segment, named by the number of its first event:
//   record = uint32 size (LE), uint32 FNV-1a of the bytes (LE), containerd.types.Envelope
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "containerd/types/event.pb.h"

namespace gantry::containerd {

struct EventLogLimits {
  size_t segment_bytes = size_t{4} << 20;
  size_t segments = 8;
};

class EventLog {
 public:
  // A torn record at the end, which a crash leaves, is cut off; with a damaged one in between
  // everything up to it is forgotten.
  static Result<std::unique_ptr<EventLog>> Open(const std::string& directory,
                                                EventLogLimits limits = {});

  // The event's number. When the file can't be written (a full disk) the log begins anew after this
  // event, and cursors before it are refused.
  uint64_t Append(const ::containerd::types::Envelope& envelope);

  // The number of the next event.
  uint64_t next() const;
  // "ID-NUMBER": a cursor says which event was seen last.
  std::string CursorAfter(uint64_t number) const;
  // The number of the event that comes after a cursor: "" is the next one to come, "oldest" the
  // first that is there. kOutOfRange when events after the cursor are gone, or it is of another
  // log: who asks must look at the state. kInvalidArgument when it is no cursor.
  Result<uint64_t> Resolve(const std::string& cursor) const;

  // Events from `from` on, at least one unless there is none yet, and no more than about
  // `max_bytes`. kOutOfRange when `from` is gone.
  Result<std::vector<::containerd::types::Envelope>> Read(uint64_t from, size_t max_bytes) const;

 private:
  struct Segment {
    uint64_t first = 0;
    std::string path;
    UniqueFd fd;
    std::vector<uint32_t> offsets;  // of each record
    uint32_t end = 0;
  };
  EventLog(std::string directory, EventLogLimits limits)
      : directory_(std::move(directory)), limits_(limits) {}
  Result<> Load() REQUIRES(mutex_);
  Result<> LoadSegment(Segment* segment, bool last) REQUIRES(mutex_);
  Result<> AppendRecord(const std::string& record) REQUIRES(mutex_);
  Result<> AddSegment() REQUIRES(mutex_);
  void DropFirst() REQUIRES(mutex_);
  uint64_t first() const REQUIRES(mutex_) {
    return segments_.empty() ? next_ : segments_.front()->first;
  }

  const std::string directory_;
  const EventLogLimits limits_;
  std::string id_;
  mutable Mutex mutex_;
  uint64_t next_ GUARDED_BY(mutex_) = 1;
  bool failing_ GUARDED_BY(mutex_) = false;
  // Readers hold the one that they read from.
  std::deque<std::shared_ptr<Segment>> segments_ GUARDED_BY(mutex_);
};

}  // namespace gantry::containerd
