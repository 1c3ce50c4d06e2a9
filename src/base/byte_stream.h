// SPDX-License-Identifier: Apache-2.0
//
// Streams of bytes between parsers, decompressors, hashes and files, without copies: a source
// shows its next chunk, which stays valid until the next call. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"

namespace gantry {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // The next bytes, at least one; empty at the end, and again on every later call. Valid until the
  // next call.
  virtual Result<std::string_view> Next() = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Result<> Write(std::string_view data) = 0;
};

// Reads a descriptor (file, pipe, socket) in chunks of `chunk` bytes; a blocking descriptor, or one
// that is polled when it has nothing. Stops with kCancelled when `stop` says so.
class FdSource : public ByteSource {
 public:
  explicit FdSource(BorrowedFd fd, StopToken stop = {}, size_t chunk = size_t{256} << 10);
  explicit FdSource(UniqueFd fd, StopToken stop = {}, size_t chunk = size_t{256} << 10);
  Result<std::string_view> Next() override;

 private:
  UniqueFd owned_;
  BorrowedFd fd_;
  StopToken stop_;
  size_t chunk_;
  std::unique_ptr<char[]> buffer_;
};

// Bytes in memory that outlive it; chunks of at most `chunk` bytes.
class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string_view data, size_t chunk = size_t{256} << 10)
      : rest_(data), chunk_(chunk) {}
  Result<std::string_view> Next() override;

 private:
  std::string_view rest_;
  size_t chunk_;
};

class FdSink : public ByteSink {
 public:
  explicit FdSink(BorrowedFd fd) : fd_(fd) {}
  Result<> Write(std::string_view data) override;

 private:
  BorrowedFd fd_;
};

class StringSink : public ByteSink {
 public:
  Result<> Write(std::string_view data) override {
    text.append(data);
    return {};
  }
  std::string text;
};

// Everything to the end; more than `limit` bytes is kResourceExhausted.
Result<std::string> ReadAll(ByteSource& source, size_t limit);
// Moves everything to the sink; the number of bytes.
Result<uint64_t> CopyAll(ByteSource& source, ByteSink& sink);

}  // namespace gantry
