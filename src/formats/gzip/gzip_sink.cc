// SPDX-License-Identifier: Apache-2.0
#include "formats/gzip/gzip_sink.h"

#include <zlib.h>

namespace gantry::formats {
namespace {

constexpr size_t kOutputBytes = size_t{64} << 10;
constexpr int kGzipWindow = 15 + 16;  // the largest window, in gzip's form
constexpr int kMemoryLevel = 8;       // zlib's default: 256 KiB in all

}  // namespace

struct GzipSink::State {
  z_stream stream{};
  Bytef output[kOutputBytes];
};

GzipSink::GzipSink(ByteSink& sink) : sink_(sink), state_(std::make_unique<State>()) {
  int status = ::deflateInit2(&state_->stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, kMemoryLevel,
                              Z_DEFAULT_STRATEGY);
  CHECK(status == Z_OK);  // else no memory
}

GzipSink::~GzipSink() { ::deflateEnd(&state_->stream); }

Result<> GzipSink::Run(std::string_view data, End end) {
  z_stream& stream = state_->stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));  // only read
  stream.avail_in = static_cast<uInt>(data.size());
  do {
    stream.next_out = state_->output;
    stream.avail_out = kOutputBytes;
    int status = ::deflate(&stream, end == End::kFinal ? Z_FINISH : Z_NO_FLUSH);
    CHECK(status != Z_STREAM_ERROR);
    size_t size = kOutputBytes - stream.avail_out;
    if (size > 0) TRY(sink_.Write({reinterpret_cast<const char*>(state_->output), size}));
  } while (stream.avail_out == 0);
  return {};
}

Result<> GzipSink::Write(std::string_view data) {
  while (!data.empty()) {
    std::string_view piece = data.substr(0, size_t{1} << 30);
    data.remove_prefix(piece.size());
    TRY(Run(piece, End::kMoreFollows));
  }
  return {};
}

Result<> GzipSink::Finish() { return Run({}, End::kFinal); }

}  // namespace gantry::formats
