// SPDX-License-Identifier: Apache-2.0
#include "images/read_ahead.h"

namespace gantry::images {
namespace {

constexpr size_t kChunksAhead = 8;

}  // namespace

ReadAhead::ReadAhead(ByteSource& source, std::function<void(std::string_view chunk)> inspect)
    : source_(source),
      inspect_(std::move(inspect)),
      reader_([this] { Read(); }),
      inspector_([this] { Inspect(); }) {}

ReadAhead::~ReadAhead() { Stop(); }

void ReadAhead::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  for (std::thread* thread : {&reader_, &inspector_}) {
    if (thread->joinable()) thread->join();
  }
}

void ReadAhead::Read() {
  for (;;) {
    auto chunk = source_.Next();
    std::string buffer;
    {
      MutexLock lock(mutex_);
      while (read_.size() + ready_.size() >= kChunksAhead && !stop_) changed_.Wait(mutex_);
      if (stop_) return;
      if (!chunk.ok() || chunk->empty()) {
        if (!chunk.ok()) error_ = std::move(chunk).error();
        read_all_ = true;
        changed_.NotifyAll();
        return;
      }
      if (!free_.empty()) {
        buffer = std::move(free_.front());
        free_.pop_front();
      }
    }
    buffer.assign(*chunk);
    MutexLock lock(mutex_);
    read_.push_back(std::move(buffer));
    changed_.NotifyAll();
  }
}

void ReadAhead::Inspect() {
  for (;;) {
    std::string chunk;
    {
      MutexLock lock(mutex_);
      while (read_.empty() && !read_all_ && !stop_) changed_.Wait(mutex_);
      if (stop_ || read_.empty()) {
        inspected_all_ = true;
        changed_.NotifyAll();
        return;
      }
      chunk = std::move(read_.front());
      read_.pop_front();
    }
    inspect_(chunk);
    MutexLock lock(mutex_);
    ready_.push_back(std::move(chunk));
    changed_.NotifyAll();
  }
}

Result<std::string_view> ReadAhead::Next() {
  MutexLock lock(mutex_);
  while (ready_.empty() && !inspected_all_) changed_.Wait(mutex_);
  if (ready_.empty()) {
    if (error_) return Error(*error_);
    return std::string_view();
  }
  if (current_.capacity() > 0) free_.push_back(std::move(current_));
  current_ = std::move(ready_.front());
  ready_.pop_front();
  changed_.NotifyAll();
  return std::string_view(current_);
}

}  // namespace gantry::images
