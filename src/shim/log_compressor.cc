// SPDX-License-Identifier: Apache-2.0
#include "shim/log_compressor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/byte_stream.h"
#include "base/io.h"
#include "base/log.h"
#include "formats/gzip/gzip_sink.h"
#include "formats/json_log.h"

namespace gantry::shim {
namespace {

Result<> Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) < 0 && errno != ENOENT) {
    return ErrnoError("rotating log '{}'", from);
  }
  return {};
}

Result<> Unlink(const std::string& path) {
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing log '{}'", path);
  return {};
}

}  // namespace

LogCompressor::LogCompressor(EventLoop* loop, std::string path, int max_files)
    : loop_(loop), path_(std::move(path)), max_files_(max_files) {
  (void)Unlink(path_ + ".gz.new");  // written anew
  Begin();
}

LogCompressor::~LogCompressor() {
  *alive_ = false;
  while (thread_.joinable()) Settle();
}

std::string LogCompressor::Plain(int index) const { return fmt::format("{}.{}", path_, index); }
std::string LogCompressor::Compressed(int index) const { return Plain(index) + ".gz"; }

int LogCompressor::NextIndex() const {
  for (int index = 1; index < max_files_; ++index) {
    if (PathExists(Plain(index))) return index;
    if (!PathExists(Compressed(index))) return 0;
  }
  return 0;
}

Result<> LogCompressor::Shift() {
  TRY(Unlink(Plain(max_files_ - 1)));
  TRY(Unlink(Compressed(max_files_ - 1)));
  for (int index = max_files_ - 2; index > 0; --index) {
    TRY(Rename(Plain(index), Plain(index + 1)));
    TRY(Rename(Compressed(index), Compressed(index + 1)));
  }
  if (index_ > 0) index_ = index_ + 1 < max_files_ ? index_ + 1 : 0;
  return {};
}

void LogCompressor::Begin() {
  if (thread_.joinable()) return;
  int index = NextIndex();
  if (index == 0) return;
  Result<> started = Start(index);
  if (!started.ok()) log::Warning("compressing log '{}': {}", path_, started.error().message());
}

Result<> LogCompressor::Start(int index) {
  UniqueFd file = TRY(OpenFile(Plain(index), O_RDONLY | O_NOFOLLOW));
  index_ = index;
  // std::thread reports that there are too many by an exception, which ends here.
  try {
    thread_ = std::thread([this, alive = alive_, file = std::move(file)] {
      result_ = Compress(file, path_ + ".gz.new");
      loop_->Post([this, alive] {
        if (*alive) Settle();
      });
    });
  } catch (const std::system_error& error) {
    return ErrnoErrorOf(error.code().value(), "starting a thread");
  }
  return {};
}

Result<> LogCompressor::Compress(const UniqueFd& from, const std::string& to) {
  struct stat info{};
  if (::fstat(from.get(), &info) < 0) return ErrnoError("looking at it");
  UniqueFd file = TRY(OpenFile(to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640));
  FdSink sink(file);
  TRY(sink.Write(formats::CompressedLogHead(info.st_ino)));
  formats::GzipSink gzip(sink);
  FdSource source((BorrowedFd(from)));
  TRY(CopyAll(source, gzip));
  TRY(gzip.Finish());
  // The plain file goes next.
  if (::fdatasync(file.get()) < 0) return ErrnoError("writing '{}'", to);
  return {};
}

// Waits for the thread, puts its file in place and goes on with the next. A failure, such as a full
// disk, leaves the plain file and is tried again after the next rotation.
void LogCompressor::Settle() {
  thread_.join();
  std::string made = path_ + ".gz.new";
  int index = std::exchange(index_, 0);
  Result<> result = std::move(result_);
  if (result.ok() && index > 0) result = Rename(made, Compressed(index));
  if (result.ok() && index > 0) result = Unlink(Plain(index));
  if (!result.ok()) log::Warning("compressing log '{}': {}", path_, result.error().message());
  if (!result.ok() || index == 0) (void)Unlink(made);
  if (result.ok()) Begin();
}

}  // namespace gantry::shim
