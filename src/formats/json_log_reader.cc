// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/io.h"
#include "formats/json_log.h"

namespace gantry::formats {
namespace {

constexpr size_t kReadSize = 65536;
constexpr size_t kMaxLine = size_t{1} << 20;
constexpr int kMaxRotated = 1000;

}  // namespace

std::string JsonLogReader::FileName(int index) const {
  return index == 0 ? path_ : fmt::format("{}.{}", path_, index);
}

// False when there is no such file.
Result<bool> JsonLogReader::OpenIndex(int index) {
  Result<UniqueFd> file = OpenFile(FileName(index), O_RDONLY | O_NONBLOCK);
  if (!file.ok()) {
    if (file.error().error_number() == ENOENT) return false;
    return std::move(file).error();
  }
  struct stat info{};
  if (::fstat(file->get(), &info) < 0) return ErrnoError("looking at '{}'", FileName(index));
  file_ = std::move(*file);
  inode_ = info.st_ino;
  device_ = info.st_dev;
  offset_ = 0;
  return true;
}

Result<JsonLogReader> JsonLogReader::OpenAt(std::string path, LogPosition position) {
  JsonLogReader reader(std::move(path));
  for (int index = 0; index <= kMaxRotated; ++index) {
    if (!TRY(reader.OpenIndex(index))) break;
    if (reader.inode_ != position.inode) continue;
    off_t size = ::lseek(reader.file_.get(), 0, SEEK_END);
    // A shorter file has the number of another one, which is gone.
    if (size < 0 || static_cast<uint64_t>(size) < position.offset) break;
    if (::lseek(reader.file_.get(), static_cast<off_t>(position.offset), SEEK_SET) < 0) {
      return ErrnoError("seeking in '{}'", reader.FileName(index));
    }
    reader.offset_ = position.offset;
    return reader;
  }
  return Open(std::move(reader.path_), -1);
}

Result<JsonLogReader> JsonLogReader::Open(std::string path, int64_t tail) {
  JsonLogReader reader(std::move(path));
  if (tail >= 0) {
    TRY(reader.SeekTail(tail));
    return reader;
  }
  int oldest = 0;
  while (oldest < kMaxRotated && PathExists(reader.FileName(oldest + 1))) ++oldest;
  for (int index = oldest; index >= 0; --index) {
    if (TRY(reader.OpenIndex(index))) break;
  }
  return reader;
}

// Goes back block by block, newest file first, until `tail` newlines before the last one are seen.
Result<> JsonLogReader::SeekTail(int64_t tail) {
  std::string block(kReadSize, '\0');
  for (int index = 0; index <= kMaxRotated; ++index) {
    UniqueFd newer = std::move(file_);
    ino_t newer_inode = inode_;
    dev_t newer_device = device_;
    if (!TRY(OpenIndex(index))) {
      file_ = std::move(newer);
      inode_ = newer_inode;
      device_ = newer_device;
      break;
    }
    off_t end = ::lseek(file_.get(), 0, SEEK_END);
    if (end < 0) return ErrnoError("seeking in '{}'", FileName(index));
    off_t position = end;
    bool last_byte = true;
    while (position > 0) {
      size_t size = static_cast<size_t>(std::min<off_t>(position, kReadSize));
      position -= static_cast<off_t>(size);
      ssize_t got = ::pread(file_.get(), block.data(), size, position);
      if (got < 0) return ErrnoError("reading '{}'", FileName(index));
      for (size_t i = static_cast<size_t>(got); i-- > 0;) {
        // The last newline ends the last record; every other one stands before a record.
        bool ends_last = std::exchange(last_byte, false);
        if (block[i] != '\n' || (ends_last && tail > 0)) continue;
        if (tail == 0 || --tail == 0) {
          off_t begin = ::lseek(file_.get(), position + static_cast<off_t>(i) + 1, SEEK_SET);
          if (begin < 0) return ErrnoError("seeking in '{}'", FileName(index));
          offset_ = static_cast<uint64_t>(begin);
          return {};
        }
      }
    }
    ::lseek(file_.get(), 0, SEEK_SET);
    // The first record of a file has no newline before it.
    if (end > 0 && tail > 0) --tail;
    if (tail == 0) return {};
  }
  return {};
}

// More bytes into the buffer; false at the end of this file.
Result<bool> JsonLogReader::Fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  size_t have = buffer_.size();
  buffer_.resize(have + kReadSize);
  Result<size_t> got = ReadSome(file_, buffer_.data() + have, kReadSize);
  buffer_.resize(have + (got.ok() ? *got : 0));
  offset_ += got.ok() ? *got : 0;
  if (!got.ok()) return std::move(got).error().AddContext(fmt::format("log '{}'", path_));
  return *got > 0;
}

// At the end of a file: opens the next newer one. False when this is the newest.
Result<bool> JsonLogReader::Advance() {
  if (!file_.valid()) return OpenIndex(0);
  int ours = -1;
  int oldest = 0;
  for (int index = 0; index <= kMaxRotated; ++index) {
    struct stat info{};
    if (::stat(FileName(index).c_str(), &info) < 0) {
      if (index > 0) break;
      continue;
    }
    oldest = index;
    if (info.st_ino == inode_ && info.st_dev == device_) {
      ours = index;
      break;
    }
  }
  if (ours == 0) return false;
  // A file that is gone was the oldest.
  int next = ours > 0 ? ours - 1 : oldest;
  // What was written between our last read and the rotation.
  if (TRY(Fill())) return true;
  if (!buffer_.empty()) {
    ++skipped_;
    buffer_.clear();
  }
  return OpenIndex(next);
}

Result<bool> JsonLogReader::Next(LogRecord* record) {
  size_t searched = 0;
  for (;;) {
    std::string_view rest = std::string_view(buffer_).substr(at_);
    size_t newline = rest.find('\n', searched);
    if (newline != std::string_view::npos) {
      at_ += newline + 1;
      searched = 0;
      if (ParseLogLine(rest.substr(0, newline), record).ok()) return true;
      ++skipped_;
      continue;
    }
    searched = rest.size();
    if (rest.size() > kMaxLine) {
      ++skipped_;
      buffer_.clear();
      at_ = searched = 0;
    }
    if (file_.valid() && TRY(Fill())) continue;
    if (!TRY(Advance())) return false;
    searched = 0;
  }
}

}  // namespace gantry::formats
