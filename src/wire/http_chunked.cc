// SPDX-License-Identifier: Apache-2.0
#include "wire/http_chunked.h"

#include <algorithm>
#include <charconv>

namespace gantry::wire {
namespace {

constexpr size_t kMaxLineBytes = 4096;
constexpr size_t kMaxTrailerBytes = 16384;

}  // namespace

Result<ChunkedDecoder::Step> ChunkedDecoder::Next(std::string_view data) {
  if (state_ == State::kDone || data.empty()) return Step{};
  if (state_ != State::kData) return ReadLine(data);
  size_t size = static_cast<size_t>(std::min<uint64_t>(left_, data.size()));
  left_ -= size;
  if (left_ == 0) state_ = State::kDataEnd;
  return Step{size, data.substr(0, size)};
}

// Collects a line, which may come in pieces, and acts on it at its end.
Result<ChunkedDecoder::Step> ChunkedDecoder::ReadLine(std::string_view data) {
  size_t newline = data.find('\n');
  size_t take = newline == std::string_view::npos ? data.size() : newline + 1;
  if (line_.size() + take > kMaxLineBytes) {
    return MakeError(ErrorKind::kResourceExhausted, "decoding chunks: line of more than {} bytes",
                     kMaxLineBytes);
  }
  line_.append(data.substr(0, take));
  if (newline == std::string_view::npos) return Step{take, {}};
  if (line_.size() < 2 || line_[line_.size() - 2] != '\r') {
    return InvalidArgument("decoding chunks: line without CRLF");
  }
  line_.resize(line_.size() - 2);
  switch (state_) {
    case State::kSizeLine:
      TRY(TakeSize());
      break;
    case State::kDataEnd:
      if (!line_.empty()) return InvalidArgument("decoding chunks: data after the chunk's end");
      state_ = State::kSizeLine;
      break;
    case State::kTrailers:
      trailer_bytes_ += line_.size() + 2;
      if (trailer_bytes_ > kMaxTrailerBytes) {
        return MakeError(ErrorKind::kResourceExhausted,
                         "decoding chunks: more than {} bytes of trailers", kMaxTrailerBytes);
      }
      if (line_.empty()) state_ = State::kDone;
      break;
    case State::kData:
    case State::kDone:
      break;
  }
  line_.clear();
  return Step{take, {}};
}

// chunk-size [ chunk-ext ]
Result<> ChunkedDecoder::TakeSize() {
  const char* begin = line_.data();
  const char* end = begin + line_.size();
  uint64_t size = 0;
  auto [stop, error] = std::from_chars(begin, end, size, 16);
  if (error != std::errc() || (stop != end && *stop != ';' && *stop != ' ' && *stop != '\t')) {
    return InvalidArgument("decoding chunks: bad size");
  }
  std::string_view extension(stop, static_cast<size_t>(end - stop));
  size_t text = extension.find_first_not_of(" \t");
  if (text != std::string_view::npos && extension[text] != ';') {
    return InvalidArgument("decoding chunks: bad size");
  }
  left_ = size;
  state_ = size == 0 ? State::kTrailers : State::kData;
  return {};
}

std::string ChunkHead(size_t size) {
  char buffer[20];
  char* end = std::to_chars(buffer, buffer + sizeof buffer - 2, size, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return std::string(buffer, end);
}

void AppendChunk(std::string_view data, std::string* out) {
  if (data.empty()) return;
  out->append(ChunkHead(data.size())).append(data).append("\r\n");
}

}  // namespace gantry::wire
