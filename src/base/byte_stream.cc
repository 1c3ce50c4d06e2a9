// SPDX-License-Identifier: Apache-2.0
#include "base/byte_stream.h"

#include <poll.h>

#include "base/io.h"

namespace gantry {

FdSource::FdSource(BorrowedFd fd, StopToken stop, size_t chunk)
    : fd_(fd), stop_(std::move(stop)), chunk_(chunk), buffer_(new char[chunk]) {}

FdSource::FdSource(UniqueFd fd, StopToken stop, size_t chunk)
    : owned_(std::move(fd)),
      fd_(owned_),
      stop_(std::move(stop)),
      chunk_(chunk),
      buffer_(new char[chunk]) {}

Result<std::string_view> FdSource::Next() {
  for (;;) {
    if (stop_.stop_requested()) return MakeError(ErrorKind::kCancelled, "reading: stopped");
    auto count = ReadSome(fd_, buffer_.get(), chunk_);
    if (count.ok()) return std::string_view(buffer_.get(), *count);
    if (count.error().error_number() != EAGAIN) return std::move(count).error();
    // A descriptor that others made non-blocking: wait, without a bound of our own, for its data or
    // for the stop.
    auto ready = WaitFor(fd_, POLLIN, std::chrono::hours(1), stop_);
    if (!ready.ok() && ready.error().kind() != ErrorKind::kDeadlineExceeded) {
      return std::move(ready).error();
    }
  }
}

Result<std::string_view> StringSource::Next() {
  std::string_view chunk = rest_.substr(0, chunk_);
  rest_.remove_prefix(chunk.size());
  return chunk;
}

Result<> FdSink::Write(std::string_view data) { return WriteAll(fd_, data); }

Result<std::string> ReadAll(ByteSource& source, size_t limit) {
  std::string text;
  for (;;) {
    std::string_view chunk = TRY(source.Next());
    if (chunk.empty()) return text;
    if (chunk.size() > limit - text.size()) {
      return MakeError(ErrorKind::kResourceExhausted, "reading: more than {} bytes", limit);
    }
    text.append(chunk);
  }
}

Result<uint64_t> CopyAll(ByteSource& source, ByteSink& sink) {
  uint64_t total = 0;
  for (;;) {
    std::string_view chunk = TRY(source.Next());
    if (chunk.empty()) return total;
    TRY(sink.Write(chunk));
    total += chunk.size();
  }
}

}  // namespace gantry
