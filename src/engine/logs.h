// SPDX-License-Identifier: Apache-2.0
//
// Reading a container's log for `logs` and `attach --logs`: filtered by stream and time, framed as
// docker's multiplexed stream or raw, and followed. A follower holds no thread while there is
// nothing new: inotify wakes it, a worker reads. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "engine/container.h"
#include "formats/json_log.h"
#include "wire/http_exchange.h"
#include "wire/worker_pool.h"

namespace gantry::engine {

struct LogOptions {
  bool out = false;
  bool err = false;
  bool timestamps = false;
  bool framed = true;  // false: a terminal's raw text
  WallTime since{};
  WallTime until = WallTime::max();
  int64_t tail = -1;                       // lines; -1: all
  WallTime count_since = WallTime::max();  // see LogStreamer::counted
  std::string details;                     // before each line, see LogDetailsOf
};

class LogStreamer {
 public:
  static Result<LogStreamer> Open(const std::string& path, const LogOptions& options);

  // Appends records to *out until it is longer than `enough` or there is none. False at the end of
  // what there is; done() tells whether more can come.
  Result<bool> Read(size_t enough, std::string* out);
  // A record after `until` was seen.
  bool done() const { return done_; }
  // Bytes of output, of both streams, in the records since `count_since` that were passed.
  uint64_t counted() const { return counted_; }

 private:
  LogStreamer(formats::JsonLogReader reader, LogOptions options)
      : reader_(std::move(reader)), options_(options) {}

  formats::JsonLogReader reader_;
  LogOptions options_;
  formats::LogRecord record_;
  bool done_ = false;
  uint64_t counted_ = 0;
};

// One inotify instance for all followers (the host gives a user only 128).
class LogWatcher {
 public:
  // `loop` outlives it.
  static Result<std::unique_ptr<LogWatcher>> Create(EventLoop& loop);
  ~LogWatcher();

  // `changed` is called in the loop's thread when a file in `directory` changes; must not block.
  Result<uint64_t> Watch(const std::string& directory, std::function<void()> changed);
  void Unwatch(uint64_t number);

 private:
  LogWatcher(EventLoop& loop, UniqueFd inotify) : loop_(loop), inotify_(std::move(inotify)) {}
  void OnEvents();

  struct Entry {
    int watch;
    std::function<void()> changed;
  };
  EventLoop& loop_;
  const UniqueFd inotify_;
  Mutex mutex_;
  uint64_t next_ GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Entry> entries_ GUARDED_BY(mutex_);
};

// Feeds a parked answer from a log until the container has ended and all is told, or the client
// goes. `directory` holds the log. Owns itself.
void FollowLog(LogWatcher& watcher, wire::WorkerPool& workers, std::shared_ptr<Container> container,
               LogStreamer streamer, const std::string& directory,
               std::shared_ptr<wire::ResponseSink> sink);

}  // namespace gantry::engine
