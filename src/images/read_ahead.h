// SPDX-License-Identifier: Apache-2.0
//
// Reads a source in a thread of its own, a few chunks ahead: decompressing and hashing on one
// processor, writing files on another. The source is used by that thread alone until Stop() or the
// destructor returns. Next() is for one thread.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <thread>

#include "base/byte_stream.h"
#include "base/mutex.h"

namespace gantry::images {

class ReadAhead : public ByteSource {
 public:
  explicit ReadAhead(ByteSource& source);
  ~ReadAhead() override;

  Result<std::string_view> Next() override;
  // Ends the thread; the source may be looked at afterwards.
  void Stop();

 private:
  void Run();

  ByteSource& source_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> filled_ GUARDED_BY(mutex_);
  std::deque<std::string> free_ GUARDED_BY(mutex_);  // buffers to use again
  std::optional<Error> error_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::string current_;
  std::thread thread_;
};

}  // namespace gantry::images
