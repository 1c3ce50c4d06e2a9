// SPDX-License-Identifier: Apache-2.0
//
// What the stores' uploads have in common: their ids, and writers that stay open between the
// requests of one upload, since opening one again means to hash what is there. Any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"

namespace gantry::distribution {

// A UUID of random bytes (RFC 9562, version 4).
std::string MakeUploadId();

template <typename Writer>
class OpenUploads {
 public:
  // The upload is this request's until GiveBack() or Forget(). Null: its writer is not open.
  // kUnavailable: another request has it.
  Result<std::unique_ptr<Writer>> Take(const std::string& upload) {
    MutexLock lock(mutex_);
    auto [entry, fresh] = entries_.try_emplace(upload);
    if (!fresh && entry->second.writer == nullptr) {
      return Unavailable("another request writes to this upload");
    }
    return std::move(entry->second.writer);
  }

  void GiveBack(const std::string& upload, std::unique_ptr<Writer> writer) {
    std::vector<std::unique_ptr<Writer>> idle;  // closed without the lock
    auto now = SteadyClock::now();
    MutexLock lock(mutex_);
    entries_[upload] = {std::move(writer), now};
    bool many = entries_.size() > kMaxOpen;
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      bool close = entry->second.writer != nullptr && entry->first != upload &&
                   (many || now - entry->second.used_at > kOpenTime);
      if (close) idle.push_back(std::move(entry->second.writer));
      entry = close ? entries_.erase(entry) : std::next(entry);
    }
  }

  void Forget(const std::string& upload) {
    std::unique_ptr<Writer> closed;
    MutexLock lock(mutex_);
    auto entry = entries_.find(upload);
    if (entry == entries_.end()) return;
    closed = std::move(entry->second.writer);
    entries_.erase(entry);
  }

 private:
  static constexpr size_t kMaxOpen = 64;
  static constexpr auto kOpenTime = std::chrono::seconds(60);

  struct Entry {
    std::unique_ptr<Writer> writer;  // null while a request has it
    SteadyClock::time_point used_at;
  };
  Mutex mutex_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace gantry::distribution
