// SPDX-License-Identifier: Apache-2.0
#include "formats/gzip/gzip_sink.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace gantry::formats {
namespace {

// By zlib's other half.
std::string Inflate(const std::string& packed) {
  z_stream stream{};
  EXPECT_EQ(::inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string plain;
  int status = Z_OK;
  while (status == Z_OK) {
    char buffer[4096];
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof buffer;
    status = ::inflate(&stream, Z_NO_FLUSH);
    plain.append(buffer, sizeof buffer - stream.avail_out);
  }
  EXPECT_EQ(status, Z_STREAM_END);
  ::inflateEnd(&stream);
  return plain;
}

TEST(GzipSink, CompressesWhatCanBeReadBack) {
  std::string text;
  for (int i = 0; text.size() < 1'000'000; ++i) text += std::to_string(i * 2654435761U);
  for (size_t size : {size_t{0}, size_t{1}, text.size()}) {
    StringSink packed;
    GzipSink gzip(packed);
    for (size_t at = 0; at < size; at += 100'000) {
      ASSERT_TRUE(
          gzip.Write(std::string_view(text).substr(at, std::min(size - at, size_t{100'000}))).ok());
    }
    ASSERT_TRUE(gzip.Finish().ok());
    EXPECT_EQ(Inflate(packed.text), text.substr(0, size));
    if (size > 1) {
      EXPECT_LT(packed.text.size(), size);
    }
  }
}

}  // namespace
}  // namespace gantry::formats
