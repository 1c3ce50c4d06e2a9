// SPDX-License-Identifier: Apache-2.0
//
// Compresses the rotated files of a log, PATH.1 and on to PATH.1.gz, in a thread of its own, newest
// first. The thread reads one file and writes PATH.gz.new; renames and removals are done here, so
// that a rotation meanwhile only moves the number. What is killed in between leaves a plain file,
// which the next log of the container compresses. The loop's thread.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace gantry::shim {

class LogCompressor {
 public:
  // Takes away what was left half made, and begins with files that are not compressed yet.
  LogCompressor(EventLoop* loop, std::string path, int max_files);
  // Waits until all files are compressed.
  ~LogCompressor();
  LogCompressor(const LogCompressor&) = delete;
  LogCompressor& operator=(const LogCompressor&) = delete;

  // The files are about to move: the last one is gone, every index grows by one. kPath itself is
  // the caller's.
  Result<> Shift();
  // PATH.1 is there.
  void Begin();

 private:
  std::string Plain(int index) const;
  std::string Compressed(int index) const;
  // The newest file that is not compressed; 0: none.
  int NextIndex() const;
  Result<> Start(int index);
  // In the thread.
  static Result<> Compress(const UniqueFd& from, const std::string& to);
  void Settle();

  EventLoop* loop_;
  const std::string path_;
  const int max_files_;
  std::thread thread_;
  int index_ = 0;    // of the file that the thread reads; 0: none, or it has been rotated away
  Result<> result_;  // the thread's until it is joined
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::shim
