// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on the snapshotters of this folder.
#include "snapshots/snapshotter.h"

#include <stdlib.h>

#include "kernel/btrfs.h"
#include "kernel/project_quota.h"
#include "snapshots/btrfs_snapshotter.h"
#include "snapshots/native_snapshotter.h"
#include "snapshots/overlayfs_snapshotter.h"
#include "snapshots/snapshotter_suite.h"

namespace gantry::snapshots {
namespace {

bool Run(const std::string& command) {
  return ::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

void UnmountImage(const std::string& top) {
  EXPECT_TRUE(Run("umount " + top));
  std::filesystem::remove(top + ".img");
}

// Makes a file system in a file and mounts it over `top`; "" or why not.
std::string MountImage(const std::string& top, const std::string& make,
                       const std::string& options) {
  if (!Run("command -v " + make.substr(0, make.find(' ')))) return "no " + make;
  const std::string image = top + ".img";
  std::string reason;
  if (!Run(fmt::format("truncate -s 320M {0} && {1} {0}", image, make))) {
    reason = make + " fails";
  } else if (!Run(fmt::format("mount -o {} {} {}", options, image, top))) {
    reason = "the kernel does not mount it, or has no quotas for it";
  }
  if (!reason.empty()) std::filesystem::remove(image);
  return reason;
}

std::string MountBtrfs(const std::string& top) { return MountImage(top, "mkfs.btrfs -q", "loop"); }

std::string MountXfs(const std::string& top) {
  std::string reason = MountImage(top, "mkfs.xfs -q", "loop,pquota");
  if (!reason.empty() || *kernel::HasProjectQuotas(top)) return reason;
  UnmountImage(top);
  return "the kernel has no quotas for xfs";
}

std::string MountExt4(const std::string& top) {
  return MountImage(top, "mkfs.ext4 -q -O quota,project -E quotatype=prjquota", "loop,prjquota");
}

INSTANTIATE_TEST_SUITE_P(
    All, SnapshotterTest,
    testing::Values(
        Implementation{"overlayfs", MakeOverlayfsSnapshotter},
        Implementation{"overlayfs_on_xfs", MakeOverlayfsSnapshotter, MountXfs, UnmountImage},
        Implementation{"overlayfs_on_ext4", MakeOverlayfsSnapshotter, MountExt4, UnmountImage},
        Implementation{"native", MakeNativeSnapshotter},
        Implementation{"btrfs", MakeBtrfsSnapshotter, MountBtrfs, UnmountImage}),
    [](const auto& info) { return std::string(info.param.name); });

struct Limited {
  const char* name;
  Factory make;
  std::string (*mount)(const std::string&);
};

// Snapshotters on file systems with quotas; others are skipped.
class QuotaTest : public testing::TestWithParam<Limited> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
    char path[] = "/tmp/gantry-quotas-XXXXXX";
    top_ = ::mkdtemp(path);
    std::string reason = GetParam().mount(top_);
    if (!reason.empty()) GTEST_SKIP() << reason;
    mounted_ = true;
    trash_ = std::move(*Trash::Open(top_ + "/trash"));
    snapshotter_ = std::move(*GetParam().make(top_ + "/root", records_.get(), trash_.get()));
  }
  void TearDown() override {
    snapshotter_.reset();
    trash_.reset();
    if (mounted_) UnmountImage(top_);
    std::filesystem::remove_all(top_);
  }
  // Writes and syncs `megabytes` into a new file of the snapshot `key`: 0 or the error number.
  int Fill(const std::string& key, const std::string& file, int megabytes) {
    auto mounts = snapshotter_->Mounts("ns", key);
    EXPECT_TRUE(mounts.ok());
    Mounted root(*mounts, top_ + "/mnt");
    UniqueFd fd(::open((root / file).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!fd.valid()) return errno;
    const std::string megabyte(1 << 20, 'x');
    for (int i = 0; i < megabytes; ++i) {
      Result<> written = WriteAll(fd, megabyte);
      if (!written.ok()) return written.error().error_number();
    }
    return ::fsync(fd.get()) == 0 ? 0 : errno;
  }

  std::string top_;
  bool mounted_ = false;
  std::unique_ptr<SnapshotRecords> records_ = MakeMemoryRecords();
  std::unique_ptr<Trash> trash_;
  std::unique_ptr<Snapshotter> snapshotter_;
};

TEST_P(QuotaTest, ASnapshotTakesNoMoreThanItsQuota) {
  ASSERT_TRUE(snapshotter_->HasQuotas());
  ASSERT_TRUE(snapshotter_->Prepare("ns", "layer-key", "", {}).ok());
  EXPECT_EQ(Fill("layer-key", "base", 12), 0);
  ASSERT_TRUE(snapshotter_->Commit("ns", "layer", "layer-key", {}).ok());

  const Labels quota = {{std::string(kQuotaLabel), std::to_string(8 << 20)}};
  ASSERT_TRUE(snapshotter_->Prepare("ns", "small", "layer", quota).ok());
  ASSERT_TRUE(snapshotter_->Prepare("ns", "free", "layer", {}).ok());
  // What is below does not count.
  EXPECT_EQ(Fill("small", "fits", 4), 0);
  EXPECT_THAT(Fill("small", "too-much", 16), testing::AnyOf(EDQUOT, ENOSPC));
  EXPECT_EQ(Fill("free", "any", 16), 0);

  // The next one has a quota of its own, and all of it.
  ASSERT_TRUE(snapshotter_->Remove("ns", "small").ok());
  ASSERT_TRUE(snapshotter_->Prepare("ns", "again", "layer", quota).ok());
  EXPECT_EQ(Fill("again", "fits", 4), 0);
}

TEST_P(QuotaTest, AQuotaIsANumberAboveZero) {
  for (const char* wrong : {"", "0", "-1", "8M", "99999999999999999999"}) {
    auto mounts = snapshotter_->Prepare("ns", "key", "", {{std::string(kQuotaLabel), wrong}});
    ASSERT_FALSE(mounts.ok()) << wrong;
    EXPECT_EQ(mounts.error().kind(), ErrorKind::kInvalidArgument);
  }
  EXPECT_TRUE(std::filesystem::is_empty(top_ + "/root"));
}

INSTANTIATE_TEST_SUITE_P(All, QuotaTest,
                         testing::Values(Limited{"xfs", MakeOverlayfsSnapshotter, MountXfs},
                                         Limited{"ext4", MakeOverlayfsSnapshotter, MountExt4},
                                         Limited{"btrfs", MakeBtrfsSnapshotter, MountBtrfs}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Quota, WithoutThemASnapshotWithOneIsRefused) {
  char path[] = "/tmp/gantry-quotas-XXXXXX";
  std::string top = ::mkdtemp(path);
  {
    auto trash = std::move(*Trash::Open(top + "/trash"));
    auto records = MakeMemoryRecords();
    auto native = std::move(*MakeNativeSnapshotter(top + "/root", records.get(), trash.get()));
    auto mounts = native->Prepare("ns", "key", "", {{std::string(kQuotaLabel), "1048576"}});
    ASSERT_FALSE(mounts.ok());
    EXPECT_EQ(mounts.error().kind(), ErrorKind::kFailedPrecondition);
    EXPECT_EQ(mounts.error().message(), "preparing snapshot 'key': native has no quotas here");
    EXPECT_TRUE(std::filesystem::is_empty(top + "/root"));
  }
  std::filesystem::remove_all(top);
}

TEST(Btrfs, OnAnotherFileSystemItIsRefused) {
  char path[] = "/tmp/gantry-btrfs-XXXXXX";
  std::string top = ::mkdtemp(path);
  auto trash = std::move(*Trash::Open(top + "/trash"));
  auto records = MakeMemoryRecords();
  auto made = MakeBtrfsSnapshotter(top + "/root", records.get(), trash.get());
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().kind(), ErrorKind::kFailedPrecondition);
  trash.reset();
  std::filesystem::remove_all(top);
}

TEST(Btrfs, SubvolumesWithinSnapshotsGoWithThem) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
  char path[] = "/tmp/gantry-btrfs-XXXXXX";
  std::string top = ::mkdtemp(path);
  std::string reason = MountBtrfs(top);
  if (!reason.empty()) GTEST_SKIP() << reason;
  {
    auto trash = std::move(*Trash::Open(top + "/trash"));
    auto records = MakeMemoryRecords();
    auto snapshotter = std::move(*MakeBtrfsSnapshotter(top + "/root", records.get(), trash.get()));
    auto mounts = snapshotter->Prepare("ns", "key", "", {});
    ASSERT_TRUE(mounts.ok());
    ASSERT_TRUE(kernel::CreateSubvolume((*mounts)[0].source + "/inner").ok());
    ASSERT_TRUE(CreateFile((*mounts)[0].source + "/inner/file", "x", 0600).ok());
    ASSERT_TRUE(snapshotter->Remove("ns", "key").ok());
    trash->WaitUntilEmpty();
    EXPECT_TRUE(std::filesystem::is_empty(top + "/root"));
    EXPECT_TRUE(std::filesystem::is_empty(top + "/trash"));
  }
  UnmountImage(top);
  std::filesystem::remove_all(top);
}

}  // namespace
}  // namespace gantry::snapshots
