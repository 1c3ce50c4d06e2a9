// SPDX-License-Identifier: Apache-2.0
#include "formats/compression/compression.h"

#include <bzlib.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

namespace gantry::formats::compression {
namespace {

std::string Sample() {
  std::string text;
  uint64_t state = 1;
  for (int i = 0; i < 300000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text.push_back(static_cast<char>(i % 3 == 0 ? state >> 56 : 'a' + i % 17));
  }
  return text;
}

std::string Gzip(std::string_view text) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

Result<std::string> Unpack(std::string_view text, size_t chunk) {
  StringSource source(text, chunk);
  auto plain = TRY(Decompress(source));
  return ReadAll(*plain, size_t{64} << 20);
}

TEST(Compression, DecompressesInAnyPieces) {
  std::string sample = Sample();
  for (const std::string& packed : {Gzip(sample), Zstd(sample), sample}) {
    for (size_t chunk : {size_t{1}, size_t{3}, size_t{1000}, size_t{1} << 20}) {
      auto text = Unpack(packed, chunk);
      ASSERT_TRUE(text.ok()) << text.error().message();
      EXPECT_TRUE(*text == sample);
    }
  }
}

TEST(Compression, ReadsEmptyStreams) {
  for (const std::string& packed : {Gzip(""), Zstd(""), std::string()}) {
    auto text = Unpack(packed, 100);
    ASSERT_TRUE(text.ok()) << text.error().message();
    EXPECT_EQ(*text, "");
  }
}

TEST(Compression, ReadsHighlyCompressedData) {
  std::string zeros(20 << 20, '\0');
  for (const std::string& packed : {Gzip(zeros), Zstd(zeros)}) {
    StringSource source(packed);
    auto plain = Decompress(source);
    ASSERT_TRUE(plain.ok());
    size_t total = 0;
    for (;;) {
      auto chunk = (*plain)->Next();
      ASSERT_TRUE(chunk.ok());
      ASSERT_LE(chunk->size(), size_t{256} << 10);
      if (chunk->empty()) break;
      total += chunk->size();
    }
    EXPECT_EQ(total, zeros.size());
  }
}

TEST(Compression, ReadsMembersAndFramesInARow) {
  for (size_t chunk : {1, 1000}) {
    EXPECT_EQ(*Unpack(Gzip("one ") + Gzip("") + Gzip("two"), chunk), "one two");
    EXPECT_EQ(*Unpack(Zstd("one ") + Zstd("two"), chunk), "one two");
    EXPECT_EQ(*Unpack(Gzip("padded") + std::string(512, '\0'), chunk), "padded");
    EXPECT_FALSE(Unpack(Gzip("garbage") + "after", chunk).ok());
    EXPECT_FALSE(Unpack(Zstd("garbage") + "after", chunk).ok());
  }
}

TEST(Compression, NoticesDamage) {
  std::string sample = Sample();
  for (const std::string& packed : {Gzip(sample), Zstd(sample)}) {
    EXPECT_FALSE(Unpack(packed.substr(0, packed.size() - 1), 1000).ok());
    EXPECT_FALSE(Unpack(packed.substr(0, packed.size() / 2), 1000).ok());
  }
  std::string packed = Gzip(sample);
  packed[packed.size() - 6] ^= 1;
  EXPECT_THAT(Unpack(packed, 1000).error().message(), testing::HasSubstr("checksum"));
}

std::string Bzip2(std::string text) {
  std::string out(text.size() * 2 + 600, '\0');
  auto size = static_cast<unsigned>(out.size());
  EXPECT_EQ(BZ2_bzBuffToBuffCompress(out.data(), &size, text.data(),
                                     static_cast<unsigned>(text.size()), 9, 0, 0),
            BZ_OK);
  out.resize(size);
  return out;
}

std::string Xz(std::string_view text, uint32_t preset = 6) {
  std::string out(text.size() * 2 + 600, '\0');
  size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(preset, LZMA_CHECK_CRC64, nullptr,
                                    reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                                    reinterpret_cast<uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}

TEST(Compression, ReadsBzip2AndXz) {
  std::string sample = Sample();
  for (size_t chunk : {size_t{1}, size_t{777}, size_t{1} << 20}) {
    for (const std::string& packed : {Bzip2(sample), Xz(sample)}) {
      EXPECT_TRUE(Unpack(packed, chunk).value() == sample) << chunk;
      EXPECT_TRUE(Unpack(packed + packed, chunk).value() == sample + sample) << chunk;
    }
  }
  EXPECT_EQ(*Unpack(Bzip2(""), 100), "");
  EXPECT_EQ(*Unpack(Xz(""), 100), "");
  std::string zeros(size_t{30} << 20, '\0');
  EXPECT_TRUE(Unpack(Bzip2(zeros), 1000).value() == zeros);
  EXPECT_TRUE(Unpack(Xz(zeros, 9), 1000).value() == zeros);
}

TEST(Compression, NoticesDamageOfBzip2AndXz) {
  std::string sample = Sample();
  for (std::string packed : {Bzip2(sample), Xz(sample)}) {
    EXPECT_THAT(Unpack(packed.substr(0, packed.size() - 1), 1000).error().message(),
                testing::HasSubstr("unexpected end"));
    EXPECT_FALSE(Unpack(packed.substr(0, packed.size() / 2), 1000).ok());
    EXPECT_FALSE(Unpack(packed + "rubbish", 1000).ok());
    packed[packed.size() / 2] ^= 1;
    EXPECT_THAT(Unpack(packed, 1000).error().message(), testing::HasSubstr("damaged"));
  }
}

template <typename Sink>
void CompressesAndEnds() {
  std::string sample = Sample();
  StringSink whole;
  Sink compressor(whole);
  ASSERT_TRUE(compressor.Write(sample).ok());
  ASSERT_TRUE(compressor.Finish().ok());
  EXPECT_LT(whole.text.size(), sample.size());
  EXPECT_TRUE(*Unpack(whole.text, 1000) == sample);
  StringSink empty;
  Sink nothing(empty);
  ASSERT_TRUE(nothing.Finish().ok());
  EXPECT_GT(empty.text.size(), 0u);
  EXPECT_EQ(*Unpack(empty.text, 1000), "");
}

TEST(Compression, CompressesWithGzip) { CompressesAndEnds<GzipSink>(); }
TEST(Compression, CompressesWithZstd) { CompressesAndEnds<ZstdSink>(); }

}  // namespace
}  // namespace gantry::formats::compression
