// SPDX-License-Identifier: Apache-2.0
//
// The json-file log format (docs/shim-io.md): one record a line,
//
//   {"log":"text\n","stream":"stdout","time":"2026-11-22T05:00:00.123456789Z"}
//
// with "attrs":{…} before the time when the log's options choose any. Rotated files are PATH.1,
// PATH.2, …, or PATH.1.gz when they are compressed.
//
// JsonLogEncoder turns a stream of output into records (the shim); JsonLogReader reads a log with
// its rotated files, from its end if wanted, and goes on when it grows (gantryd's `logs`).
// One thread each.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/byte_stream.h"
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
  // `attributes`: a JSON object on one line, or nothing.
  explicit JsonLogEncoder(LogStream stream, std::string_view attributes = {});

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

// A compressed file begins with a gzip member of its own that holds nothing but a comment: the
// inode of the file that was compressed, so that a reader of that file finds its place again.
std::string CompressedLogHead(uint64_t inode);
std::optional<uint64_t> InodeOfCompressedLog(std::string_view first_bytes);
inline constexpr size_t kCompressedLogHead = 64;  // as many first bytes are enough

class JsonLogReader {
 public:
  // What a compressed file holds; the descriptor outlives the source. (Decompressing is a floor
  // above this one.)
  using Unpacker = std::function<Result<std::unique_ptr<ByteSource>>(BorrowedFd)>;

  // Goes on at a position that position() gave. When that file is not there any more, what is left
  // of the log is read from its beginning.
  static Result<JsonLogReader> OpenAt(std::string path, LogPosition position);
  // `tail` records before the end of PATH and its rotated files; -1: all of them. A log that does
  // not exist yet has no records. Without an unpacker compressed files are not there.
  static Result<JsonLogReader> Open(std::string path, int64_t tail, Unpacker unpack = nullptr);

  // The next record; false when there is none yet. May be called again later.
  Result<bool> Next(LogRecord* record);
  LogPosition position() const { return {file_.inode, offset_ - (buffer_.size() - at_)}; }
  // Lines that were no records, such as one that a power cut tore.
  uint64_t skipped() const { return skipped_; }

 private:
  // The file that is read.
  struct File {
    UniqueFd fd;
    ino_t inode = 0;
    dev_t device = 0;
    std::unique_ptr<ByteSource> unpacked;  // of a compressed one
  };
  enum class Place { kMissing, kOther, kOurs };

  JsonLogReader(std::string path, Unpacker unpack)
      : path_(std::move(path)), unpack_(std::move(unpack)) {}
  std::string FileName(int index) const;
  Result<bool> OpenIndex(int index);
  Result<bool> OpenName(const std::string& name);
  Result<> Unpack();
  Place PlaceOf(int index) const;
  int Oldest() const;
  Result<> SeekTail(int64_t tail);
  Result<bool> SeekInFile(int64_t* tail);
  Result<bool> SeekInUnpacked(int64_t* tail);
  Result<bool> Fill();
  Result<bool> Restart();
  Result<bool> Advance();

  std::string path_;
  Unpacker unpack_;
  File file_;
  uint64_t offset_ = 0;  // in the file, behind the buffer
  std::string buffer_;
  size_t at_ = 0;
  uint64_t skipped_ = 0;
};

}  // namespace gantry::formats
