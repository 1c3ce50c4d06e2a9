// SPDX-License-Identifier: Apache-2.0
#include "containerd/fsck.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/io.h"
#include "base/pid_file.h"
#include "base/random.h"
#include "containerd/records.h"
#include "containerd/snapshot_records.h"
#include "content/blob_store.h"
#include "snapshots/overlayfs_snapshotter.h"
#include "snapshots/trash.h"

namespace gantry::containerd {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A store with an image's blob, a layer, a container's writable layer on it and a half download.
class FsckTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for overlay's directories";
    fs::create_directories(root_);
    auto database = *OpenRecords(root_ + "/meta.db");
    auto blobs = *content::BlobStore::Open(root_ + "/content");
    auto trash = *snapshots::Trash::Open(root_ + "/trash");
    auto records = MakeSnapshotRecords(database.get(), "overlayfs");
    auto overlay = *snapshots::MakeOverlayfsSnapshotter(root_ + "/snapshots/overlayfs",
                                                        records.get(), trash.get());
    ASSERT_TRUE(overlay->Recover().ok());
    digest_ = content::PutBlob(*blobs, "ns", "the manifest")->digest;
    ASSERT_TRUE(overlay->Prepare("ns", "work", "", {}).ok());
    ASSERT_TRUE(overlay->Commit("ns", "layer", "work", {}).ok());
    ASSERT_TRUE(overlay->Prepare("ns", "box", "layer", {}).ok());
    auto half = *blobs->OpenWriter({.ns = "ns", .ref = "half", .total = 0, .expected = {}});
    ASSERT_TRUE(half->Write("ha").ok());
    auto tx = *database->Begin();
    ASSERT_TRUE(PutContent(tx, "ns", {.digest = std::string(digest_.text()), .size = 12}).ok());
    images_api::Image image;
    image.set_name("example.org/a:1");
    image.mutable_target()->set_digest(std::string(digest_.text()));
    ASSERT_TRUE(InsertImage(tx, "ns", image).ok());
    ASSERT_TRUE(tx.Commit().ok());
    EXPECT_THAT(Faults(), IsEmpty());
  }
  void TearDown() override { fs::remove_all(root_); }

  std::vector<std::string> Faults(FsckMode mode = FsckMode::kLook) {
    auto report = CheckStores(root_, mode);
    if (!report.ok()) return {report.error().message()};
    std::vector<std::string> faults;
    for (const FsckFinding& finding : report->findings) {
      faults.push_back(finding.fault + (finding.repair.empty() ? " (hopeless)" : ""));
    }
    return faults;
  }
  std::string BlobFile() const {
    return root_ + "/content/blobs/sha256/" + std::string(digest_.hex());
  }
  std::string Snapshot(const char* number) const {
    return root_ + "/snapshots/overlayfs/" + number;
  }

  const std::string root_ = "/tmp/gantry-fsck-" + RandomHex(8);
  formats::Digest digest_;
};

TEST_F(FsckTest, CountsWhatIsThere) {
  auto report = CheckStores(root_, FsckMode::kLook);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report->blobs, 1u);
  EXPECT_EQ(report->bytes, 12u);
  EXPECT_EQ(report->ingests, 1u);
  EXPECT_EQ(report->snapshots, 2u);
}

TEST_F(FsckTest, DamagedBlobIsForgottenAndItsImageNamed) {
  ASSERT_EQ(::chmod(BlobFile().c_str(), 0644), 0);
  ASSERT_TRUE(WriteFile(BlobFile(), "the MANIFEST").ok());
  EXPECT_THAT(Faults(), ElementsAre(HasSubstr("its digest is sha256:")));
  EXPECT_TRUE(PathExists(BlobFile()));  // looking changes nothing
  EXPECT_THAT(Faults(FsckMode::kRepair),
              ElementsAre(HasSubstr("its digest is sha256:"), HasSubstr("pull it again")));
  EXPECT_FALSE(PathExists(BlobFile()));
  EXPECT_THAT(Faults(), ElementsAre(HasSubstr("image 'example.org/a:1'")));
}

TEST_F(FsckTest, BlobOfWrongSizeAndMissingBlob) {
  ASSERT_EQ(::truncate(BlobFile().c_str(), 3), 0);
  EXPECT_THAT(Faults(), ElementsAre(HasSubstr("its file has 3 bytes, not 12")));
  fs::remove(BlobFile());
  EXPECT_THAT(Faults(), ElementsAre(HasSubstr("its file is missing")));
}

TEST_F(FsckTest, WhatIsNobodysIsRemoved) {
  std::vector<std::string> nobodys = {
      root_ + "/io.containerd.runtime.v2.task/ns/gone", root_ + "/content/blobs/sha256/abc",
      root_ + "/content/ingest/half", root_ + "/snapshots/overlayfs/99", root_ + "/notes"};
  for (const std::string& path : nobodys) fs::create_directories(path);
  EXPECT_EQ(Faults().size(), nobodys.size());
  EXPECT_EQ(Faults(FsckMode::kRepair).size(), nobodys.size());
  for (const std::string& path : nobodys) EXPECT_FALSE(PathExists(path)) << path;
  EXPECT_THAT(Faults(), IsEmpty());
  EXPECT_TRUE(fs::is_empty(root_ + "/trash"));
}

TEST_F(FsckTest, LayerThatIsGoneTakesNoContainersDataAlong) {
  fs::remove_all(Snapshot("1"));
  EXPECT_THAT(Faults(), ElementsAre(HasSubstr("'box' (overlayfs, namespace ns): the directory of "
                                              "its ancestor 'layer' is missing (hopeless)"),
                                    HasSubstr("'layer' (overlayfs, namespace ns): its directory")));
  EXPECT_EQ(Faults(FsckMode::kRepair).size(), 2u);
  EXPECT_TRUE(PathExists(Snapshot("2") + "/fs"));
  EXPECT_THAT(Faults(), ElementsAre(HasSubstr("its ancestor 'layer' is missing (hopeless)")));
}

TEST_F(FsckTest, NotBesideADaemonNorWithoutAStore) {
  auto daemon = *PidFile::Lock(root_ + "/lock");
  EXPECT_EQ(CheckStores(root_, FsckMode::kRepair).error().kind(), ErrorKind::kAlreadyExists);
  EXPECT_EQ(CheckStores(root_ + "/none", FsckMode::kLook).error().kind(), ErrorKind::kNotFound);
}

}  // namespace
}  // namespace gantry::containerd
