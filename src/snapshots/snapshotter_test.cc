// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on the snapshotters of this folder.
#include "snapshots/snapshotter.h"

#include <stdlib.h>

#include "kernel/btrfs.h"
#include "snapshots/btrfs_snapshotter.h"
#include "snapshots/native_snapshotter.h"
#include "snapshots/overlayfs_snapshotter.h"
#include "snapshots/snapshotter_suite.h"

namespace gantry::snapshots {
namespace {

bool Run(const std::string& command) {
  return ::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

// A btrfs in a file, mounted over `top`.
std::string MountBtrfs(const std::string& top) {
  if (!Run("command -v mkfs.btrfs")) return "no mkfs.btrfs";
  if (!Run("truncate -s 128M " + top + ".img && mkfs.btrfs -q " + top + ".img")) {
    return "mkfs.btrfs fails";
  }
  return Run("mount -o loop " + top + ".img " + top) ? "" : "no btrfs or no loop devices";
}

void UnmountBtrfs(const std::string& top) {
  EXPECT_TRUE(Run("umount " + top));
  std::filesystem::remove(top + ".img");
}

INSTANTIATE_TEST_SUITE_P(All, SnapshotterTest,
                         testing::Values(Implementation{"overlayfs", MakeOverlayfsSnapshotter},
                                         Implementation{"native", MakeNativeSnapshotter},
                                         Implementation{"btrfs", MakeBtrfsSnapshotter, MountBtrfs,
                                                        UnmountBtrfs}),
                         [](const auto& info) { return std::string(info.param.name); });

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
  UnmountBtrfs(top);
  std::filesystem::remove_all(top);
}

}  // namespace
}  // namespace gantry::snapshots
