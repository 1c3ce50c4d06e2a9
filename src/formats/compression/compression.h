// SPDX-License-Identifier: Apache-2.0
//
// gzip (RFC 1952) and zstd (RFC 8878) as streams: a source that decompresses another source, sinks
// that compress into another; bzip2 and xz are only read. Output comes in pieces of at most 256 KiB
// however well it was compressed. The one wrapper of ISA-L and libzstd. One thread at a time.
#pragma once

#include <memory>
#include <string_view>

#include "base/byte_stream.h"
#include "base/error.h"

namespace gantry::formats::compression {

enum class Kind { kNone, kGzip, kZstd };
std::string_view KindName(Kind kind);  // "none", "gzip", "zstd"

// What the first bytes of a stream say; 4 bytes are enough. bzip2 and xz, which no layer may have,
// are kNone here.
Kind Detect(std::string_view first_bytes);

// Looks at the first bytes of `source`, which outlives the result, and decompresses. What is not
// compressed passes through.
Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& source);
// The same for a kind that is known.
Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& source, Kind kind);

// Compresses with gzip, fast (ISA-L level 1). Finish() ends the stream.
class GzipSink : public ByteSink {
 public:
  explicit GzipSink(ByteSink& sink);
  ~GzipSink() override;
  Result<> Write(std::string_view data) override;
  Result<> Finish();

 private:
  struct State;
  Result<> Run(bool end);
  ByteSink& sink_;
  std::unique_ptr<State> state_;
};

// Compresses with zstd at its default level. Finish() ends the stream.
class ZstdSink : public ByteSink {
 public:
  explicit ZstdSink(ByteSink& sink);
  ~ZstdSink() override;
  Result<> Write(std::string_view data) override;
  Result<> Finish();

 private:
  struct State;
  ByteSink& sink_;
  std::unique_ptr<State> state_;
};

}  // namespace gantry::formats::compression
