// SPDX-License-Identifier: Apache-2.0
//
// The container's log: records of both streams appended to one file, rotated by size. A write that
// fails (disk full) never stops the container: up to 1 MiB of records wait, what does not fit is
// counted, and once writing works again a record of stderr tells how many bytes are missing. The
// loop's thread.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "formats/json_log.h"
#include "shim/log_compressor.h"

namespace gantry::shim {

struct LogFileOptions {
  std::string path;
  int64_t max_size = -1;  // bytes in one file; -1: never rotated
  int max_files = 1;
  bool compress = false;   // the rotated files
  std::string attributes;  // a JSON object that every record has; "": none
};

class LogFile {
 public:
  static Result<std::unique_ptr<LogFile>> Open(EventLoop* loop, LogFileOptions options);
  ~LogFile();

  void Append(formats::LogStream stream, std::string_view text, WallTime time);
  // No more of this stream comes: writes the rest of its last line.
  void Finish(formats::LogStream stream, WallTime time);

 private:
  LogFile(EventLoop* loop, LogFileOptions options);
  formats::JsonLogEncoder& EncoderOf(formats::LogStream stream);
  void WriteOut();
  Result<> Rotate();
  bool HasShrunk();
  void RetryLater();
  void AppendGap();

  EventLoop* loop_;
  const LogFileOptions options_;
  std::unique_ptr<LogCompressor> compressor_;
  UniqueFd file_;
  int64_t size_ = 0;
  formats::JsonLogEncoder stdout_;
  formats::JsonLogEncoder stderr_;
  std::string out_;  // records that are not written yet
  bool failing_ = false;
  uint64_t dropped_ = 0;  // bytes of output
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::shim
