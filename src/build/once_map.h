// SPDX-License-Identifier: Apache-2.0
//
// Values that are made once, by whoever asks first; others who ask meanwhile wait. What could not
// be made is made by the next. Any thread.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "wire/worker_pool.h"

namespace gantry::build {

template <typename Value>
class OnceMap {
 public:
  // `make()` is a Result<Value>. The value lives as long as the map.
  template <typename Make>
  Result<Value*> Get(const std::string& key, const StopToken& stop, Make make) {
    {
      wire::WorkerPool::Blocked blocked;
      MutexLock lock(mutex_);
      Entry& entry = entries_[key];
      while (entry.being_made) {
        if (stop.stop_requested()) {
          return MakeError(ErrorKind::kCancelled, "the build was cancelled");
        }
        (void)made_.WaitFor(mutex_, kTick);
      }
      if (entry.value) return &*entry.value;
      entry.being_made = true;
    }
    Result<Value> value = make();
    MutexLock lock(mutex_);
    Entry& entry = entries_[key];
    entry.being_made = false;
    made_.NotifyAll();
    if (!value.ok()) return std::move(value).error();
    entry.value = *std::move(value);
    return &*entry.value;
  }

 private:
  // How often somebody who waits looks whether he should.
  static constexpr std::chrono::milliseconds kTick{100};
  struct Entry {
    std::optional<Value> value;
    bool being_made = false;
  };

  Mutex mutex_;
  CondVar made_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace gantry::build
