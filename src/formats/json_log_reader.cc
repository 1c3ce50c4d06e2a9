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
constexpr std::string_view kCompressed = ".gz";

// The file that a compressed one was made of.
std::optional<uint64_t> OriginOf(const std::string& name) {
  Result<UniqueFd> file = OpenFile(name, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) return std::nullopt;
  char head[kCompressedLogHead];
  ssize_t got = ::pread(file->get(), head, sizeof head, 0);
  if (got <= 0) return std::nullopt;
  return InodeOfCompressedLog({head, static_cast<size_t>(got)});
}

}  // namespace

std::string JsonLogReader::FileName(int index) const {
  return index == 0 ? path_ : fmt::format("{}.{}", path_, index);
}

// False when there is no such file.
Result<bool> JsonLogReader::OpenIndex(int index) {
  std::string name = FileName(index);
  if (TRY(OpenName(name))) return true;
  if (index == 0 || !unpack_) return false;
  if (TRY(OpenName(name + std::string(kCompressed)))) {
    TRY_WITH(Unpack(), "log '{}'", name);
    return true;
  }
  // A rotation between the two looks has brought the next one here.
  return OpenName(name);
}

Result<bool> JsonLogReader::OpenName(const std::string& name) {
  Result<UniqueFd> file = OpenFile(name, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) {
    if (file.error().error_number() == ENOENT) return false;
    return std::move(file).error();
  }
  struct stat info{};
  if (::fstat(file->get(), &info) < 0) return ErrnoError("looking at '{}'", name);
  file_ = File{std::move(*file), info.st_ino, info.st_dev, nullptr};
  offset_ = 0;
  return true;
}

// Makes the compressed file readable from its beginning.
Result<> JsonLogReader::Unpack() {
  if (::lseek(file_.fd.get(), 0, SEEK_SET) < 0) return ErrnoError("seeking");
  file_.unpacked = TRY(unpack_(file_.fd));
  return {};
}

Result<JsonLogReader> JsonLogReader::OpenAt(std::string path, LogPosition position) {
  JsonLogReader reader(std::move(path), nullptr);
  for (int index = 0; index <= kMaxRotated; ++index) {
    if (!TRY(reader.OpenIndex(index))) break;
    if (reader.file_.inode != position.inode) continue;
    off_t size = ::lseek(reader.file_.fd.get(), 0, SEEK_END);
    // A shorter file has the number of another one, which is gone.
    if (size < 0 || static_cast<uint64_t>(size) < position.offset) break;
    if (::lseek(reader.file_.fd.get(), static_cast<off_t>(position.offset), SEEK_SET) < 0) {
      return ErrnoError("seeking in '{}'", reader.FileName(index));
    }
    reader.offset_ = position.offset;
    return reader;
  }
  return Open(std::move(reader.path_), -1);
}

Result<JsonLogReader> JsonLogReader::Open(std::string path, int64_t tail, Unpacker unpack) {
  JsonLogReader reader(std::move(path), std::move(unpack));
  if (tail >= 0) {
    TRY(reader.SeekTail(tail));
    return reader;
  }
  for (int index = reader.Oldest(); index >= 0; --index) {
    if (TRY(reader.OpenIndex(index))) break;
  }
  return reader;
}

// Whether the file of that index is the one that is read, which may have been compressed since.
JsonLogReader::Place JsonLogReader::PlaceOf(int index) const {
  struct stat info{};
  auto same = [&] { return info.st_ino == file_.inode && info.st_dev == file_.device; };
  std::string name = FileName(index);
  if (::stat(name.c_str(), &info) == 0) {
    return !file_.unpacked && same() ? Place::kOurs : Place::kOther;
  }
  if (index == 0 || !unpack_) return Place::kMissing;
  name += kCompressed;
  if (::stat(name.c_str(), &info) < 0) return Place::kMissing;
  bool ours = file_.unpacked ? same() : OriginOf(name) == file_.inode;
  return ours ? Place::kOurs : Place::kOther;
}

// In the middle of a rotation one index has no file, so the oldest is before two such.
int JsonLogReader::Oldest() const {
  int oldest = 0;
  for (int index = 1; index <= kMaxRotated && index <= oldest + 2; ++index) {
    if (PlaceOf(index) != Place::kMissing) oldest = index;
  }
  return oldest;
}

// Goes back file by file, newest first, until `tail` records are behind.
Result<> JsonLogReader::SeekTail(int64_t tail) {
  for (int index = 0; index <= kMaxRotated; ++index) {
    File newer = std::move(file_);
    if (!TRY(OpenIndex(index))) {
      file_ = std::move(newer);
      return {};
    }
    bool enough = file_.unpacked ? TRY(SeekInUnpacked(&tail)) : TRY(SeekInFile(&tail));
    if (enough) return {};
  }
  return {};
}

// Goes back block by block until `*tail` newlines before the last one are seen. True: there are as
// many records; else *tail is how many are wanted of older files.
Result<bool> JsonLogReader::SeekInFile(int64_t* tail) {
  std::string block(kReadSize, '\0');
  off_t end = ::lseek(file_.fd.get(), 0, SEEK_END);
  if (end < 0) return ErrnoError("seeking in log '{}'", path_);
  off_t position = end;
  bool last_byte = true;
  while (position > 0) {
    size_t size = static_cast<size_t>(std::min<off_t>(position, kReadSize));
    position -= static_cast<off_t>(size);
    ssize_t got = ::pread(file_.fd.get(), block.data(), size, position);
    if (got < 0) return ErrnoError("reading log '{}'", path_);
    for (size_t i = static_cast<size_t>(got); i-- > 0;) {
      // The last newline ends the last record; every other one stands before a record.
      bool ends_last = std::exchange(last_byte, false);
      if (block[i] != '\n' || (ends_last && *tail > 0)) continue;
      if (*tail == 0 || --*tail == 0) {
        off_t begin = ::lseek(file_.fd.get(), position + static_cast<off_t>(i) + 1, SEEK_SET);
        if (begin < 0) return ErrnoError("seeking in log '{}'", path_);
        offset_ = static_cast<uint64_t>(begin);
        return true;
      }
    }
  }
  ::lseek(file_.fd.get(), 0, SEEK_SET);
  // The first record of a file has no newline before it.
  if (end > 0 && *tail > 0) --*tail;
  return *tail == 0;
}

// The same of a compressed file: its records are counted, then as many are passed.
Result<bool> JsonLogReader::SeekInUnpacked(int64_t* tail) {
  int64_t records = 0;
  for (;;) {
    std::string_view piece = TRY_WITH(file_.unpacked->Next(), "log '{}'", path_);
    if (piece.empty()) break;
    records += std::count(piece.begin(), piece.end(), '\n');
  }
  TRY_WITH(Unpack(), "log '{}'", path_);
  int64_t skip = std::max<int64_t>(0, records - *tail);
  *tail -= records - skip;
  while (skip > 0) {
    size_t newline = buffer_.find('\n', at_);
    if (newline != std::string::npos) {
      at_ = newline + 1;
      --skip;
      continue;
    }
    at_ = buffer_.size();
    if (!TRY(Fill())) break;
  }
  return *tail == 0;
}

// More bytes into the buffer; false at the end of this file.
Result<bool> JsonLogReader::Fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  if (file_.unpacked) {
    std::string_view piece = TRY_WITH(file_.unpacked->Next(), "log '{}'", path_);
    buffer_.append(piece);
    return !piece.empty();
  }
  size_t have = buffer_.size();
  buffer_.resize(have + kReadSize);
  Result<size_t> got = ReadSome(file_.fd, buffer_.data() + have, kReadSize);
  buffer_.resize(have + (got.ok() ? *got : 0));
  offset_ += got.ok() ? *got : 0;
  if (!got.ok()) return std::move(got).error().AddContext(fmt::format("log '{}'", path_));
  return *got > 0;
}

// Begins anew with a file that somebody has cut off below what was read of it, as logrotate's
// copytruncate does. False: it is as long as it was.
Result<bool> JsonLogReader::Restart() {
  struct stat info{};
  if (::fstat(file_.fd.get(), &info) < 0) return ErrnoError("looking at log '{}'", path_);
  if (static_cast<uint64_t>(info.st_size) >= offset_) return false;
  if (::lseek(file_.fd.get(), 0, SEEK_SET) < 0) return ErrnoError("seeking in log '{}'", path_);
  offset_ = 0;
  if (buffer_.size() > at_) ++skipped_;
  buffer_.clear();
  at_ = 0;
  return true;
}

// At the end of a file: opens the next newer one. False when this is the newest.
Result<bool> JsonLogReader::Advance() {
  if (!file_.fd.valid()) return OpenIndex(0);
  int ours = -1;
  int oldest = 0;
  for (int index = 0; index <= kMaxRotated && index <= oldest + 2; ++index) {
    Place place = PlaceOf(index);
    if (place != Place::kMissing) oldest = index;
    if (place != Place::kOurs) continue;
    ours = index;
    break;
  }
  if (ours == 0) return Restart();
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
    if (file_.fd.valid() && TRY(Fill())) continue;
    if (!TRY(Advance())) return false;
    searched = 0;
  }
}

}  // namespace gantry::formats
