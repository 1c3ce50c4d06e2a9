// SPDX-License-Identifier: Apache-2.0
//
// Reads a source in a thread of its own, a few chunks ahead, and looks at each chunk in another
// one: decompressing and hashing on one processor, writing files on another. The source and what
// looks are used by these threads alone until Stop() or the destructor returns. Next() is for one
// thread.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/byte_stream.h"
#include "base/mutex.h"

namespace gantry::images {

class ReadAhead : public ByteSource {
 public:
  // `inspect` sees every chunk, in order, before Next() gives it out.
  ReadAhead(ByteSource& source, std::function<void(std::string_view chunk)> inspect);
  ~ReadAhead() override;

  Result<std::string_view> Next() override;
  // Ends the threads; the source may be looked at afterwards.
  void Stop();

 private:
  void Read();
  void Inspect();

  ByteSource& source_;
  const std::function<void(std::string_view chunk)> inspect_;
  Mutex mutex_;
  CondVar changed_;
  // A chunk goes from read_ by inspect_ to ready_, then to Next(), and its buffer to free_.
  std::deque<std::string> read_ GUARDED_BY(mutex_);
  std::deque<std::string> ready_ GUARDED_BY(mutex_);
  std::deque<std::string> free_ GUARDED_BY(mutex_);
  std::optional<Error> error_ GUARDED_BY(mutex_);
  bool read_all_ GUARDED_BY(mutex_) = false;
  bool inspected_all_ GUARDED_BY(mutex_) = false;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::string current_;
  std::thread reader_;
  std::thread inspector_;
};

}  // namespace gantry::images
