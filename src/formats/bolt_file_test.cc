// SPDX-License-Identifier: Apache-2.0
//
// dockerd's own files are read by tests/e2e/test_import_docker.py; here is what no dockerd writes.
#include "formats/bolt_file.h"

#include <gtest/gtest.h>

#include <cstring>

namespace gantry::formats {
namespace {

template <typename Number>
void Put(std::string* file, size_t at, Number number) {
  if (file->size() < at + sizeof number) file->resize(at + sizeof number);
  std::memcpy(file->data() + at, &number, sizeof number);
}

constexpr size_t kPage = 4096;

void PutMeta(std::string* file, size_t page, uint64_t root, uint64_t transaction) {
  size_t at = page * kPage + 16;
  Put(file, at, uint32_t{0xED0CDAED});
  Put(file, at + 4, uint32_t{2});
  Put(file, at + 8, uint32_t{kPage});
  Put(file, at + 16, root);
  Put(file, at + 48, transaction);
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < 56; ++i) {
    hash = (hash ^ static_cast<unsigned char>((*file)[at + i])) * 0x100000001b3;
  }
  Put(file, at + 56, hash);
}

void PutLeaf(std::string* file, size_t at, uint32_t flags, const std::string& key,
             const std::string& value) {
  Put(file, at + 8, uint16_t{2});
  Put(file, at + 10, uint16_t{1});
  Put(file, at + 16, flags);
  Put(file, at + 20, uint32_t{16});
  Put(file, at + 24, static_cast<uint32_t>(key.size()));
  Put(file, at + 28, static_cast<uint32_t>(value.size()));
  file->replace(at + 32, key.size() + value.size(), key + value);
}

// Root page 3: bucket "b", inline, with k = v.
std::string Small() {
  std::string bucket(16, '\0');
  PutLeaf(&bucket, 16, 0, "k", "v");
  bucket.resize(16 + 32 + 2);
  std::string file(4 * kPage, '\0');
  PutMeta(&file, 0, 3, 7);
  PutMeta(&file, 1, 2, 6);
  PutLeaf(&file, 3 * kPage, 1, "b", bucket);
  return file;
}

TEST(BoltFileTest, TheNewerMetaCounts) {
  auto pairs = ReadBoltBucket(Small(), "b");
  ASSERT_TRUE(pairs.ok()) << pairs.error().message();
  EXPECT_EQ((*pairs)["k"], "v");
  EXPECT_EQ(ReadBoltBucket(Small(), "c").error().kind(), ErrorKind::kNotFound);
}

TEST(BoltFileTest, ABrokenMetaIsLeftOut) {
  std::string file = Small();
  PutMeta(&file, 1, 3, 6);
  file[20] = 9;
  EXPECT_TRUE(ReadBoltBucket(file, "b").ok());
  file[kPage + 20] = 9;
  EXPECT_FALSE(ReadBoltBucket(file, "b").ok());
}

TEST(BoltFileTest, EveryCutIsAnErrorOrNothing) {
  std::string file = Small();
  for (size_t size = 0; size < file.size(); size += 13) {
    (void)ReadBoltBucket(file.substr(0, size), "b");
  }
  EXPECT_FALSE(ReadBoltBucket("", "b").ok());
}

TEST(BoltFileTest, APageThatLeadsToItself) {
  std::string file = Small();
  Put(&file, 3 * kPage + 8, uint16_t{1});
  Put(&file, 3 * kPage + 24, uint64_t{3});
  EXPECT_EQ(ReadBoltBucket(file, "b").error().kind(), ErrorKind::kInvalidArgument);
}

}  // namespace
}  // namespace gantry::formats
