// SPDX-License-Identifier: Apache-2.0
#include "formats/compression/foreign.h"

#include <bzlib.h>
#include <lzma.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace gantry::formats::compression {
namespace {

constexpr size_t kForeignOutputBytes = size_t{256} << 10;
constexpr uint64_t kMaxXzMemory = uint64_t{128} << 20;

Error Damaged(std::string_view what) { return InvalidArgument("decompressing: {}", what); }

class Bzip2Source : public ByteSource {
 public:
  explicit Bzip2Source(ByteSource& source)
      : source_(source), output_(new char[kForeignOutputBytes]) {
    Begin();
  }
  ~Bzip2Source() override { BZ2_bzDecompressEnd(&stream_); }
  Bzip2Source(const Bzip2Source&) = delete;
  Bzip2Source& operator=(const Bzip2Source&) = delete;

  Result<std::string_view> Next() override {
    stream_.next_out = output_.get();
    stream_.avail_out = kForeignOutputBytes;
    while (stream_.avail_out == kForeignOutputBytes) {
      if (stream_.avail_in == 0 && !TRY(Refill())) {
        if (between_streams_) return std::string_view();
        return Damaged("unexpected end of bzip2 data");
      }
      if (between_streams_ && !first_) {
        BZ2_bzDecompressEnd(&stream_);
        Begin();
      }
      between_streams_ = false;
      first_ = false;
      int status = BZ2_bzDecompress(&stream_);
      if (status == BZ_STREAM_END) {
        between_streams_ = true;
      } else if (status != BZ_OK) {
        return Damaged(status == BZ_DATA_ERROR_MAGIC ? "no bzip2 header" : "damaged bzip2 data");
      }
    }
    return std::string_view(output_.get(), kForeignOutputBytes - stream_.avail_out);
  }

 private:
  // Keeps input and output of a stream before it.
  void Begin() {
    bz_stream fresh = {};
    fresh.next_in = stream_.next_in;
    fresh.avail_in = stream_.avail_in;
    fresh.next_out = stream_.next_out;
    fresh.avail_out = stream_.avail_out;
    stream_ = fresh;
    CHECK(BZ2_bzDecompressInit(&stream_, 0, 0) == BZ_OK);
  }

  Result<bool> Refill() {
    if (rest_.empty()) rest_ = TRY(source_.Next());
    size_t size = std::min<size_t>(rest_.size(), std::numeric_limits<unsigned>::max());
    // The library reads only.
    stream_.next_in = const_cast<char*>(rest_.data());
    stream_.avail_in = static_cast<unsigned>(size);
    rest_.remove_prefix(size);
    return size > 0;
  }

  ByteSource& source_;
  std::unique_ptr<char[]> output_;
  std::string_view rest_;
  bz_stream stream_ = {};
  bool between_streams_ = true;
  bool first_ = true;
};

class XzSource : public ByteSource {
 public:
  explicit XzSource(ByteSource& source)
      : source_(source), output_(new uint8_t[kForeignOutputBytes]) {
    CHECK(lzma_stream_decoder(&stream_, kMaxXzMemory, LZMA_CONCATENATED) == LZMA_OK);
  }
  ~XzSource() override { lzma_end(&stream_); }
  XzSource(const XzSource&) = delete;
  XzSource& operator=(const XzSource&) = delete;

  Result<std::string_view> Next() override {
    stream_.next_out = output_.get();
    stream_.avail_out = kForeignOutputBytes;
    while (stream_.avail_out == kForeignOutputBytes && !ended_) {
      if (stream_.avail_in == 0 && !source_ended_) {
        std::string_view chunk = TRY(source_.Next());
        stream_.next_in = reinterpret_cast<const uint8_t*>(chunk.data());
        stream_.avail_in = chunk.size();
        source_ended_ = chunk.empty();
      }
      lzma_ret status = lzma_code(&stream_, source_ended_ ? LZMA_FINISH : LZMA_RUN);
      if (status == LZMA_STREAM_END) {
        ended_ = true;
      } else if (status != LZMA_OK) {
        return Damaged(Explain(status));
      }
    }
    return std::string_view(reinterpret_cast<const char*>(output_.get()),
                            kForeignOutputBytes - stream_.avail_out);
  }

 private:
  static std::string_view Explain(lzma_ret status) {
    switch (status) {
      case LZMA_MEMLIMIT_ERROR:
        return "xz data needs more than 128 MiB of memory";
      case LZMA_FORMAT_ERROR:
        return "no xz header";
      case LZMA_BUF_ERROR:
        return "unexpected end of xz data";
      default:
        return "damaged xz data";
    }
  }

  ByteSource& source_;
  std::unique_ptr<uint8_t[]> output_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool source_ended_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> MakeBzip2Source(ByteSource& source) {
  return std::make_unique<Bzip2Source>(source);
}

std::unique_ptr<ByteSource> MakeXzSource(ByteSource& source) {
  return std::make_unique<XzSource>(source);
}

}  // namespace gantry::formats::compression
