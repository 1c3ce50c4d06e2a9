// SPDX-License-Identifier: Apache-2.0
#include "kernel/mounts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/io.h"

namespace gantry::kernel {
namespace {

TEST(MountOptions, SortsWhatItKnows) {
  MountOptions options = ParseMountOptions({"nosuid", "ro", "rw", "size=64m", "rbind", "rprivate",
                                            "rro", "noatime", "tmpcopyup", "userxattr"});
  EXPECT_EQ(options.bind, BindKind::kRecursive);
  EXPECT_TRUE(options.copy_up);
  EXPECT_EQ(options.attributes.set, uint64_t{MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOATIME});
  EXPECT_EQ(options.attributes.clear, uint64_t{MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME});
  EXPECT_EQ(options.recursive_attributes.set, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(options.propagation, std::vector<unsigned long>{MS_PRIVATE | MS_REC});
  EXPECT_EQ(options.parameters, (std::vector<std::string>{"size=64m", "userxattr"}));
}

TEST(MountOptions, KnownOnesAreNoParameters) {
  for (std::string_view name : KnownMountOptions()) {
    EXPECT_TRUE(ParseMountOptions({std::string(name)}).parameters.empty()) << name;
  }
}

class DetachedMount : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(DetachedMount, TmpfsWithOptions) {
  auto mount = MountDetached("tmpfs", "tmpfs", {"nosuid", "size=64k", "mode=0700"});
  ASSERT_TRUE(mount.ok()) << mount.error().message();
  struct statvfs info{};
  ASSERT_EQ(::fstatvfs(mount->get(), &info), 0);
  EXPECT_EQ(info.f_blocks * info.f_frsize, 65536u);
  EXPECT_NE(info.f_flag & ST_NOSUID, 0u);
}

TEST_F(DetachedMount, ErrorNamesTheOption) {
  auto mount = MountDetached("tmpfs", "tmpfs", {"bogus=1"});
  ASSERT_FALSE(mount.ok());
  EXPECT_NE(mount.error().message().find("setting mount option 'bogus=1'"), std::string::npos)
      << mount.error().message();
}

TEST_F(DetachedMount, ReadOnlyBind) {
  auto mount = MountDetached("bind", "/usr", {"rbind", "ro"});
  ASSERT_TRUE(mount.ok()) << mount.error().message();
  EXPECT_LT(::openat(mount->get(), "x", O_CREAT | O_WRONLY, 0600), 0);
  EXPECT_EQ(errno, EROFS);
}

// Real directories and no upper one: before 6.8 a layer of a detached mount is refused, and an
// upper one may not be on an overlay.
TEST_F(DetachedMount, OverlayOfManyLayers) {
  std::string root = fmt::format("{}mounts-test-{}", ::testing::TempDir(), ::getpid());
  ASSERT_EQ(::mkdir(root.c_str(), 0755), 0);
  std::string lower;
  std::vector<std::string> layers;
  for (int i = 0; i < 12; ++i) {
    layers.push_back(fmt::format("{}/{}-a-name-that-makes-it-long-enough", root, i));
    ASSERT_EQ(::mkdir(layers.back().c_str(), 0755), 0);
    ASSERT_TRUE(CreateFile(fmt::format("{}/f{}", layers.back(), i), "x", 0644).ok());
    lower += (i > 0 ? ":" : "lowerdir=") + layers.back();
  }
  ASSERT_GT(lower.size(), 255u);
  auto mount = MountDetached("overlay", "overlay", {lower});
  EXPECT_TRUE(mount.ok()) << mount.error().message();
  struct stat info{};
  if (mount.ok()) {
    EXPECT_EQ(::fstatat(mount->get(), "f0", &info, 0), 0);
    EXPECT_EQ(::fstatat(mount->get(), "f11", &info, 0), 0);
    mount->Reset();
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    ::unlink(fmt::format("{}/f{}", layers[i], i).c_str());
    ::rmdir(layers[i].c_str());
  }
  EXPECT_EQ(::rmdir(root.c_str()), 0);
}

TEST_F(DetachedMount, OverlaySaysWhatIsMissing) {
  auto mount = MountDetached("overlay", "overlay", {"lowerdir=/usr:/no/such/layer"});
  ASSERT_FALSE(mount.ok());
  EXPECT_EQ(mount.error().error_number(), ENOENT) << mount.error().message();
}

}  // namespace
}  // namespace gantry::kernel
