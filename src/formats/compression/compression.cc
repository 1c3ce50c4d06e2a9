// SPDX-License-Identifier: Apache-2.0
#include "formats/compression/compression.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <string>

#include "formats/compression/foreign.h"

namespace gantry::formats::compression {
namespace {

constexpr size_t kOutputBytes = size_t{256} << 10;
constexpr size_t kMagicBytes = 6;

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

Error Broken(std::string_view what) { return InvalidArgument("decompressing: {}", what); }

// Puts bytes that were looked at back in front of their source.
class PrefixedSource : public ByteSource {
 public:
  PrefixedSource(std::string prefix, std::string_view rest, ByteSource& source)
      : prefix_(std::move(prefix)), rest_(rest), source_(source) {}

  Result<std::string_view> Next() override {
    if (!prefix_given_ && !prefix_.empty()) {
      prefix_given_ = true;
      return std::string_view(prefix_);
    }
    if (!rest_.empty()) return std::exchange(rest_, {});
    return source_.Next();
  }

 private:
  std::string prefix_;
  bool prefix_given_ = false;
  std::string_view rest_;  // valid until source_.Next()
  ByteSource& source_;
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(ByteSource& source) : source_(source), output_(new uint8_t[kOutputBytes]) {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;
  }

  Result<std::string_view> Next() override {
    state_.next_out = output_.get();
    state_.avail_out = kOutputBytes;
    while (state_.avail_out == kOutputBytes) {
      if (state_.avail_in == 0 && !TRY(Refill())) {
        if (between_members_) return std::string_view();
        return Broken("unexpected end of gzip data");
      }
      if (between_members_ && !TRY(StartMember())) continue;
      int status = isal_inflate(&state_);
      if (status != ISAL_DECOMP_OK) return Broken(Explain(status));
      if (state_.block_state == ISAL_BLOCK_FINISH) {
        between_members_ = true;
        ++members_;
      }
    }
    return Output();
  }

 private:
  std::string_view Output() const {
    return {reinterpret_cast<const char*>(output_.get()), kOutputBytes - state_.avail_out};
  }

  Result<bool> Refill() {
    std::string_view chunk = TRY(source_.Next());
    // ISA-L reads only.
    state_.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(chunk.data()));
    state_.avail_in = static_cast<uint32_t>(chunk.size());
    return !chunk.empty();
  }

  // Members follow each other; zeros after the last one are padding (gzip(1)). False when there is
  // no more input at hand.
  Result<bool> StartMember() {
    if (members_ > 0) {
      while (state_.avail_in > 0 && *state_.next_in == 0) {
        ++state_.next_in;
        --state_.avail_in;
        padded_ = true;
      }
      if (state_.avail_in == 0) return false;
      if (padded_) return Broken("data after the end of gzip data");
      isal_inflate_reset(&state_);
      state_.crc_flag = ISAL_GZIP;
    }
    between_members_ = false;
    return true;
  }

  static std::string_view Explain(int status) {
    switch (status) {
      case ISAL_INCORRECT_CHECKSUM:
        return "wrong checksum of gzip data";
      case ISAL_INVALID_WRAPPER:
      case ISAL_UNSUPPORTED_METHOD:
        return "no gzip header";
      default:
        return "damaged gzip data";
    }
  }

  ByteSource& source_;
  std::unique_ptr<uint8_t[]> output_;
  inflate_state state_;
  bool between_members_ = true;
  bool padded_ = false;
  uint64_t members_ = 0;
};

struct ZstdFree {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(ByteSource& source)
      : source_(source), context_(ZSTD_createDCtx()), output_(new char[kOutputBytes]) {
    CHECK(context_ != nullptr);
  }

  Result<std::string_view> Next() override {
    ZSTD_outBuffer out{output_.get(), kOutputBytes, 0};
    while (out.pos == 0) {
      // What is left in the decoder comes before new input.
      if (in_.pos == in_.size && !more_output_) {
        std::string_view chunk = TRY(source_.Next());
        if (chunk.empty()) {
          if (frame_ended_) return std::string_view();
          return Broken("unexpected end of zstd data");
        }
        in_ = {chunk.data(), chunk.size(), 0};
      }
      size_t status = ZSTD_decompressStream(context_.get(), &out, &in_);
      if (ZSTD_isError(status) != 0) {
        return Broken(fmt::format("damaged zstd data: {}", ZSTD_getErrorName(status)));
      }
      frame_ended_ = status == 0;
      more_output_ = out.pos == out.size && !frame_ended_;
    }
    return std::string_view(output_.get(), out.pos);
  }

 private:
  ByteSource& source_;
  std::unique_ptr<ZSTD_DCtx, ZstdFree> context_;
  std::unique_ptr<char[]> output_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool frame_ended_ = true;
  bool more_output_ = false;
};

// A source with everything that it reads from.
class OwningSource : public ByteSource {
 public:
  OwningSource(std::unique_ptr<ByteSource> inner, std::unique_ptr<ByteSource> outer)
      : inner_(std::move(inner)), outer_(std::move(outer)) {}
  Result<std::string_view> Next() override { return outer_->Next(); }

 private:
  std::unique_ptr<ByteSource> inner_;
  std::unique_ptr<ByteSource> outer_;
};

}  // namespace

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "none";
    case Kind::kGzip:
      return "gzip";
    case Kind::kZstd:
      return "zstd";
  }
  return "none";
}

Kind Detect(std::string_view first_bytes) {
  if (StartsWith(first_bytes, "\x1f\x8b\x08")) return Kind::kGzip;
  if (StartsWith(first_bytes, "\x28\xb5\x2f\xfd")) return Kind::kZstd;
  // A skippable frame (RFC 8878 section 3.1.2) may come first.
  if (first_bytes.size() >= 4 && (static_cast<unsigned char>(first_bytes[0]) & 0xf0) == 0x50 &&
      first_bytes.substr(1, 3) == "\x2a\x4d\x18") {
    return Kind::kZstd;
  }
  return Kind::kNone;
}

Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& source) {
  std::string prefix;
  std::string_view rest;
  while (prefix.size() < kMagicBytes) {
    std::string_view chunk = TRY(source.Next());
    if (chunk.empty()) break;
    size_t take = std::min(chunk.size(), kMagicBytes - prefix.size());
    prefix.append(chunk.substr(0, take));
    rest = chunk.substr(take);
  }
  bool bzip2 = StartsWith(prefix, "BZh");
  bool xz = StartsWith(prefix, std::string_view("\xfd"
                                                "7zXZ\0",
                                                6));
  Kind kind = Detect(prefix);
  auto whole = std::make_unique<PrefixedSource>(std::move(prefix), rest, source);
  if (kind == Kind::kNone && !bzip2 && !xz) return std::unique_ptr<ByteSource>(std::move(whole));
  std::unique_ptr<ByteSource> decompressed;
  if (kind != Kind::kNone) {
    decompressed = TRY(Decompress(*whole, kind));
  } else {
    decompressed = bzip2 ? MakeBzip2Source(*whole) : MakeXzSource(*whole);
  }
  return std::unique_ptr<ByteSource>(
      std::make_unique<OwningSource>(std::move(whole), std::move(decompressed)));
}

Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& source, Kind kind) {
  switch (kind) {
    case Kind::kGzip:
      return std::unique_ptr<ByteSource>(std::make_unique<GzipSource>(source));
    case Kind::kZstd:
      return std::unique_ptr<ByteSource>(std::make_unique<ZstdSource>(source));
    case Kind::kNone:
      break;
  }
  return std::unique_ptr<ByteSource>(std::make_unique<PrefixedSource>("", "", source));
}

struct GzipSink::State {
  isal_zstream stream;
  std::unique_ptr<uint8_t[]> level_buffer{new uint8_t[ISAL_DEF_LVL1_DEFAULT]};
  std::unique_ptr<uint8_t[]> output{new uint8_t[kOutputBytes]};
};

GzipSink::GzipSink(ByteSink& sink) : sink_(sink), state_(std::make_unique<State>()) {
  isal_zstream& stream = state_->stream;
  isal_deflate_init(&stream);
  stream.level = 1;
  stream.level_buf = state_->level_buffer.get();
  stream.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
  stream.gzip_flag = IGZIP_GZIP;
  stream.flush = NO_FLUSH;
}

GzipSink::~GzipSink() = default;

Result<> GzipSink::Run(bool end) {
  isal_zstream& stream = state_->stream;
  stream.end_of_stream = end ? 1 : 0;
  do {
    stream.next_out = state_->output.get();
    stream.avail_out = kOutputBytes;
    int status = isal_deflate(&stream);
    if (status != COMP_OK) return Internal("compressing: error {} of ISA-L", status);
    size_t size = kOutputBytes - stream.avail_out;
    if (size > 0) TRY(sink_.Write({reinterpret_cast<const char*>(state_->output.get()), size}));
  } while (stream.avail_in > 0 || stream.avail_out == 0);
  return {};
}

Result<> GzipSink::Write(std::string_view data) {
  isal_zstream& stream = state_->stream;
  while (!data.empty()) {
    std::string_view piece = data.substr(0, size_t{1} << 30);
    data.remove_prefix(piece.size());
    stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(piece.data()));
    stream.avail_in = static_cast<uint32_t>(piece.size());
    TRY(Run(false));
  }
  return {};
}

Result<> GzipSink::Finish() {
  state_->stream.avail_in = 0;
  return Run(true);
}

struct ZstdSink::State {
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context{ZSTD_createCCtx()};
  std::unique_ptr<char[]> output{new char[kOutputBytes]};

  // One step; what it gives goes to the sink, what the library still holds is returned.
  Result<size_t> Step(ZSTD_inBuffer* in, ZSTD_EndDirective mode, ByteSink& sink) {
    ZSTD_outBuffer out{output.get(), kOutputBytes, 0};
    size_t status = ZSTD_compressStream2(context.get(), &out, in, mode);
    if (ZSTD_isError(status) != 0) {
      return Internal("compressing: zstd: {}", ZSTD_getErrorName(status));
    }
    if (out.pos > 0) TRY(sink.Write({output.get(), out.pos}));
    return status;
  }
};

ZstdSink::ZstdSink(ByteSink& sink) : sink_(sink), state_(std::make_unique<State>()) {}
ZstdSink::~ZstdSink() = default;

Result<> ZstdSink::Write(std::string_view data) {
  ZSTD_inBuffer in{data.data(), data.size(), 0};
  while (in.pos < in.size) TRY(state_->Step(&in, ZSTD_e_continue, sink_));
  return {};
}

Result<> ZstdSink::Finish() {
  ZSTD_inBuffer nothing{nullptr, 0, 0};
  while (TRY(state_->Step(&nothing, ZSTD_e_end, sink_)) != 0) {
  }
  return {};
}

}  // namespace gantry::formats::compression
