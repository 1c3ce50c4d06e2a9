// SPDX-License-Identifier: Apache-2.0
//
// The json-file log format (docs/shim-io.md): one record a line,
//
//   {"log":"text\n","stream":"stdout","time":"2026-11-22T05:00:00.123456789Z"}
//
// JsonLogEncoder turns a stream of output into records (the shim); JsonLogReader reads a log with
// its rotated files, from its end if wanted, and goes on when it grows (gantryd's `logs`).
// One thread each.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::formats {

enum class LogStream : uint8_t { kStdout = 1, kStderr = 2 };

// A longer line is cut into records that have no newline at their end.
inline constexpr size_t kLogRecordText = 16384;

// The encoder of one stream: holds the beginning of a line until the line is whole.
class JsonLogEncoder {
 public:
  explicit JsonLogEncoder(LogStream stream);

  // Appends records to *out and returns what of `text` is not consumed: not empty only when *out
  // has grown beyond `soft_limit`; then write *out and call again with the rest. All records of a
  // call have the same time.
  std::string_view Append(std::string_view text, WallTime time, size_t soft_limit,
                          std::string* out);
  // The stream has ended: the rest of a line without newline becomes a record.
  void Finish(WallTime time, std::string* out);
  size_t held() const { return partial_.size(); }

 private:
  void AppendTail(WallTime time, std::string* out);

  std::string partial_;
  std::string tail_;  // the end of every record, with the time of tail_time_
  size_t tail_time_at_;
  WallTime tail_time_{};
};

struct LogRecord {
  LogStream stream = LogStream::kStdout;
  WallTime time{};
  std::string text;
};

// One line without its newline. Members beside log, stream and time are ignored; other orders of
// members are fine.
Result<> ParseLogLine(std::string_view line, LogRecord* record);

// A place in a log: the next record to read, also after rotations.
struct LogPosition {
  uint64_t inode = 0;
  uint64_t offset = 0;
};

class JsonLogReader {
 public:
  // Goes on at a position that position() gave. When that file is not there any more, what is left
  // of the log is read from its beginning.
  static Result<JsonLogReader> OpenAt(std::string path, LogPosition position);
  // `tail` records before the end of PATH and its rotated files PATH.1, …; -1: all of them.
  // A log that does not exist yet has no records.
  static Result<JsonLogReader> Open(std::string path, int64_t tail);

  // The next record; false when there is none yet. May be called again later.
  Result<bool> Next(LogRecord* record);
  LogPosition position() const { return {inode_, offset_ - (buffer_.size() - at_)}; }
  // Lines that were no records, such as one that a power cut tore.
  uint64_t skipped() const { return skipped_; }

 private:
  explicit JsonLogReader(std::string path) : path_(std::move(path)) {}
  std::string FileName(int index) const;
  Result<bool> OpenIndex(int index);
  Result<> SeekTail(int64_t tail);
  Result<bool> Fill();
  Result<bool> Advance();

  std::string path_;
  UniqueFd file_;
  ino_t inode_ = 0;
  dev_t device_ = 0;
  uint64_t offset_ = 0;  // in the file, behind the buffer
  std::string buffer_;
  size_t at_ = 0;
  uint64_t skipped_ = 0;
};

}  // namespace gantry::formats
