// SPDX-License-Identifier: Apache-2.0
#include "shim/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/io.h"
#include "base/log.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;

// Records are written in pieces of about this size.
constexpr size_t kWriteSize = size_t{128} << 10;
constexpr size_t kMaxWaiting = size_t{1} << 20;
constexpr auto kRetry = 200ms;

}  // namespace

Result<std::unique_ptr<LogFile>> LogFile::Open(EventLoop* loop, LogFileOptions options) {
  std::unique_ptr<LogFile> log(new LogFile(loop, std::move(options)));
  const LogFileOptions& own = log->options_;
  log->file_ = TRY(OpenFile(own.path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0640));
  struct stat info{};
  if (::fstat(log->file_.get(), &info) < 0) return ErrnoError("looking at '{}'", own.path);
  log->size_ = info.st_size;
  if (own.compress && own.max_files > 1) {
    log->compressor_ = std::make_unique<LogCompressor>(loop, own.path, own.max_files);
  }
  return log;
}

LogFile::LogFile(EventLoop* loop, LogFileOptions options)
    : loop_(loop),
      options_(std::move(options)),
      stdout_(formats::LogStream::kStdout, options_.attributes),
      stderr_(formats::LogStream::kStderr, options_.attributes) {}

LogFile::~LogFile() {
  *alive_ = false;
  if (!out_.empty() || dropped_ > 0) {
    log::Failure("writing log '{}': {} bytes of records are lost", options_.path,
                 out_.size() + dropped_);
  }
}

formats::JsonLogEncoder& LogFile::EncoderOf(formats::LogStream stream) {
  return stream == formats::LogStream::kStdout ? stdout_ : stderr_;
}

void LogFile::Append(formats::LogStream stream, std::string_view text, WallTime time) {
  while (!text.empty()) {
    if (failing_ && out_.size() >= kMaxWaiting) {
      dropped_ += text.size();
      return;
    }
    text = EncoderOf(stream).Append(text, time, failing_ ? kMaxWaiting : kWriteSize, &out_);
    if (!failing_) WriteOut();
  }
}

void LogFile::Finish(formats::LogStream stream, WallTime time) {
  EncoderOf(stream).Finish(time, &out_);
  if (!failing_) WriteOut();
}

void LogFile::WriteOut() {
  std::string_view rest = out_;
  while (!rest.empty()) {
    std::string_view piece = rest;
    if (options_.max_size > 0) {
      // As many whole records as fit, or one record in a file of its own.
      size_t room = size_ < options_.max_size ? static_cast<size_t>(options_.max_size - size_) : 0;
      size_t cut = room >= rest.size() ? rest.size() : rest.rfind('\n', room == 0 ? 0 : room - 1);
      bool fits = cut != std::string_view::npos && room > 0;
      if (!fits && size_ > 0) {
        if (HasShrunk()) continue;
        Result<> rotated = Rotate();
        if (!rotated.ok()) {
          log::Warning("{}", rotated.error().message());
          break;
        }
        continue;
      }
      if (!fits) cut = rest.find('\n');
      piece = rest.substr(0, std::min(rest.size(), cut + 1));
    }
    ssize_t put = ::write(file_.get(), piece.data(), piece.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) break;
    size_ += put;
    rest.remove_prefix(static_cast<size_t>(put));
  }
  out_.erase(0, out_.size() - rest.size());
  if (out_.empty()) {
    if (failing_) AppendGap();
  } else {
    RetryLater();
  }
}

// Whether somebody has cut the file off, as logrotate's copytruncate does.
bool LogFile::HasShrunk() {
  struct stat info{};
  if (::fstat(file_.get(), &info) < 0 || info.st_size >= size_) return false;
  size_ = info.st_size;
  return true;
}

void LogFile::RetryLater() {
  failing_ = true;
  loop_->After(kRetry, [this, alive = alive_] {
    if (*alive && failing_) WriteOut();
  });
}

// Writing works again: tells what is missing.
void LogFile::AppendGap() {
  failing_ = false;
  if (dropped_ == 0) return;
  std::string text =
      fmt::format("gantry: {} bytes of output are missing here: the log could not be written\n",
                  std::exchange(dropped_, 0));
  formats::JsonLogEncoder encoder(formats::LogStream::kStderr, options_.attributes);
  encoder.Append(text, WallClock::now(), kWriteSize, &out_);
  WriteOut();
}

// PATH.1 becomes PATH.2 and so on, PATH becomes PATH.1, a new file begins. With one file only, it
// is replaced: who follows it keeps its descriptor to the end.
Result<> LogFile::Rotate() {
  const std::string& path = options_.path;
  if (compressor_) TRY(compressor_->Shift());
  for (int index = compressor_ ? 1 : options_.max_files - 1; index > 0; --index) {
    std::string from = index == 1 ? path : fmt::format("{}.{}", path, index - 1);
    std::string to = fmt::format("{}.{}", path, index);
    if (::rename(from.c_str(), to.c_str()) < 0 && errno != ENOENT) {
      return ErrnoError("rotating log '{}'", from);
    }
  }
  if (options_.max_files == 1 && ::unlink(path.c_str()) < 0 && errno != ENOENT) {
    return ErrnoError("rotating log '{}'", path);
  }
  file_ = TRY(OpenFile(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0640));
  size_ = 0;
  if (compressor_) compressor_->Begin();
  return {};
}

}  // namespace gantry::shim
