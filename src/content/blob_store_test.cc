// SPDX-License-Identifier: Apache-2.0
#include "content/blob_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/io.h"

namespace gantry::content {
namespace {

using formats::Digest;

class BlobStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/gantry-content-XXXXXX";
    root_ = ::mkdtemp(path);
    Reopen();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Reopen() {
    auto store = BlobStore::Open(root_);
    ASSERT_TRUE(store.ok());
    store_ = std::move(*store);
  }
  std::unique_ptr<BlobWriter> Writer(const std::string& ref) {
    auto writer = store_->OpenWriter({.ns = "n", .ref = ref});
    EXPECT_TRUE(writer.ok()) << writer.error().message();
    return writer.ok() ? std::move(*writer) : nullptr;
  }
  size_t IngestDirectories() {
    auto range = std::filesystem::directory_iterator(root_ + "/ingest");
    return static_cast<size_t>(std::distance(begin(range), end(range)));
  }

  std::string root_;
  std::unique_ptr<BlobStore> store_;
};

TEST_F(BlobStoreTest, CommitsReadsWalksDeletes) {
  auto writer = Writer("a");
  ASSERT_TRUE(writer->Write("hello ").ok());
  ASSERT_TRUE(writer->Write("world").ok());
  Digest digest = Digest::Of("hello world");
  EXPECT_EQ(writer->Current(), digest);
  auto info = writer->Commit(11, digest);
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(info->size, 11u);
  EXPECT_EQ(*store_->ReadBlob(digest, 100), "hello world");
  struct stat status;
  ASSERT_EQ(::stat(store_->BlobPath(digest).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0444u);
  EXPECT_EQ(IngestDirectories(), 0u);
  int seen = 0;
  ASSERT_TRUE(store_
                  ->Walk([&](const BlobInfo& blob) -> Result<> {
                    ++seen;
                    EXPECT_EQ(blob.digest, digest);
                    return {};
                  })
                  .ok());
  EXPECT_EQ(seen, 1);
  ASSERT_TRUE(store_->Delete(digest).ok());
  EXPECT_EQ(store_->Stat(digest).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(store_->Delete(digest).error().kind(), ErrorKind::kNotFound);
}

TEST_F(BlobStoreTest, ResumesAfterARestart) {
  {
    auto writer = store_->OpenWriter(
        {.ns = "n", .ref = "layer", .total = 11, .expected = Digest::Of("hello world")});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Write("hello ").ok());
  }
  Reopen();
  auto status = store_->Status("n", "layer");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->offset, 6u);
  EXPECT_EQ(status->total, 11u);
  EXPECT_EQ(status->expected, Digest::Of("hello world"));
  EXPECT_EQ(store_->Ingests("n")->size(), 1u);
  EXPECT_EQ(store_->Ingests("other")->size(), 0u);
  auto writer = Writer("layer");
  EXPECT_EQ(writer->offset(), 6u);
  ASSERT_TRUE(writer->Write("world").ok());
  EXPECT_TRUE(writer->Commit(11, Digest::Of("hello world")).ok());
}

TEST_F(BlobStoreTest, RefusesWrongSizeAndDigestAndKeepsTheWrite) {
  auto writer = Writer("a");
  ASSERT_TRUE(writer->Write("data").ok());
  EXPECT_EQ(writer->Commit(5, {}).error().kind(), ErrorKind::kFailedPrecondition);
  EXPECT_EQ(writer->Commit(4, Digest::Of("other")).error().kind(), ErrorKind::kFailedPrecondition);
  EXPECT_FALSE(writer->Truncate(2).ok());
  ASSERT_TRUE(writer->Truncate(0).ok());
  ASSERT_TRUE(writer->Write("other").ok());
  EXPECT_TRUE(writer->Commit(5, Digest::Of("other")).ok());
}

TEST_F(BlobStoreTest, AbortTakesAnOpenWriteAway) {
  auto writer = Writer("a");
  ASSERT_TRUE(writer->Write("data").ok());
  EXPECT_TRUE(store_->Abort("n", "a").ok());
  EXPECT_EQ(store_->OpenWriter({.ns = "n", .ref = "a"}).error().kind(), ErrorKind::kUnavailable);
  EXPECT_FALSE(writer->Commit(4, {}).ok());
  writer.reset();
  EXPECT_EQ(Writer("a")->offset(), 0u);
}

TEST_F(BlobStoreTest, WritesWithoutARefGoAndOthersStay) {
  ASSERT_TRUE(Writer("whole")->Write("hello").ok());
  std::string broken = root_ + "/ingest/0123";
  ASSERT_TRUE(std::filesystem::create_directory(broken));
  ASSERT_TRUE(CreateFile(broken + "/startedat", "2026-01-01T00:00:00Z", 0600).ok());
  Reopen();
  ASSERT_EQ(IngestDirectories(), 2u);
  ASSERT_TRUE(store_->RemoveBrokenIngests().ok());
  EXPECT_EQ(IngestDirectories(), 1u);
  EXPECT_EQ(store_->Status("n", "whole")->offset, 5u);
}

TEST_F(BlobStoreTest, AResumedWriteHasItsWritersTime) {
  auto writer = Writer("a");
  ASSERT_TRUE(writer->Write("data").ok());
  WallTime updated = writer->status().updated_at;
  writer.reset();
  EXPECT_EQ(Writer("a")->status().updated_at, updated);
}

TEST_F(BlobStoreTest, OneWriterForEachRefAndNamespace) {
  auto writer = Writer("a");
  EXPECT_EQ(store_->OpenWriter({.ns = "n", .ref = "a"}).error().kind(), ErrorKind::kUnavailable);
  EXPECT_EQ(store_->AbortUnlessOpen("n", "a").error().kind(), ErrorKind::kUnavailable);
  EXPECT_TRUE(store_->OpenWriter({.ns = "m", .ref = "a"}).ok());
  writer.reset();
  EXPECT_TRUE(store_->Abort("n", "a").ok());
  EXPECT_EQ(store_->Abort("n", "a").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(store_->Status("n", "a").error().kind(), ErrorKind::kNotFound);
}

TEST_F(BlobStoreTest, TheSameBlobTwiceAlreadyExists) {
  ASSERT_TRUE(PutBlob(*store_, "n", "x").ok());
  ASSERT_TRUE(PutBlob(*store_, "n", "x").ok());
  auto writer = Writer("again");
  ASSERT_TRUE(writer->Write("x").ok());
  EXPECT_EQ(writer->Commit(0, {}).error().kind(), ErrorKind::kAlreadyExists);
  EXPECT_EQ(IngestDirectories(), 0u);
}

TEST_F(BlobStoreTest, NoticesADamagedBlob) {
  auto info = PutBlob(*store_, "n", "good");
  ASSERT_TRUE(info.ok());
  std::filesystem::permissions(store_->BlobPath(info->digest), std::filesystem::perms::owner_all);
  ASSERT_TRUE(WriteFile(store_->BlobPath(info->digest), "evil").ok());
  EXPECT_EQ(store_->ReadBlob(info->digest, 100).error().kind(), ErrorKind::kDataLoss);
}

TEST_F(BlobStoreTest, CommitsSha512) {
  Digest digest = Digest::Of("x", formats::DigestAlgorithm::kSha512);
  auto writer = Writer("a");
  ASSERT_TRUE(writer->Write("x").ok());
  ASSERT_TRUE(writer->Commit(1, digest).ok());
  EXPECT_TRUE(store_->Stat(digest).ok());
}

}  // namespace
}  // namespace gantry::content
