// SPDX-License-Identifier: Apache-2.0
#include "images/read_ahead.h"

namespace gantry::images {
namespace {

constexpr size_t kChunksAhead = 6;

}  // namespace

ReadAhead::ReadAhead(ByteSource& source) : source_(source), thread_([this] { Run(); }) {}

ReadAhead::~ReadAhead() { Stop(); }

void ReadAhead::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void ReadAhead::Run() {
  for (;;) {
    auto chunk = source_.Next();
    std::string buffer;
    {
      MutexLock lock(mutex_);
      while (filled_.size() >= kChunksAhead && !stop_) changed_.Wait(mutex_);
      if (stop_) return;
      if (!chunk.ok() || chunk->empty()) {
        if (!chunk.ok()) error_ = std::move(chunk).error();
        ended_ = true;
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
    filled_.push_back(std::move(buffer));
    changed_.NotifyAll();
  }
}

Result<std::string_view> ReadAhead::Next() {
  MutexLock lock(mutex_);
  while (filled_.empty() && !ended_) changed_.Wait(mutex_);
  if (filled_.empty()) {
    if (error_) return Error(*error_);
    return std::string_view();
  }
  if (current_.capacity() > 0) free_.push_back(std::move(current_));
  current_ = std::move(filled_.front());
  filled_.pop_front();
  changed_.NotifyAll();
  return std::string_view(current_);
}

}  // namespace gantry::images
