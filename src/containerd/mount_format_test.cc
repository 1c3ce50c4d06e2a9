// SPDX-License-Identifier: Apache-2.0
#include "containerd/mount_format.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/random.h"

namespace gantry::containerd {
namespace {

using ActiveMounts = std::vector<::containerd::types::ActiveMount>;

ActiveMounts ThreeActive() {
  ActiveMounts active(3);
  for (size_t i = 0; i < active.size(); ++i) {
    active[i].set_mount_point("/m/" + std::to_string(i));
    active[i].mutable_mount()->set_source("/s/" + std::to_string(i));
    active[i].mutable_mount()->set_target("t" + std::to_string(i));
  }
  return active;
}

TEST(MountFormat, ExpandsWhatIsActive) {
  auto active = ThreeActive();
  EXPECT_EQ(*ExpandMountTemplate("plain", active), "plain");
  EXPECT_EQ(*ExpandMountTemplate("{{ mount 1 }}/x={{source 0}}", active), "/m/1/x=/s/0");
  EXPECT_EQ(*ExpandMountTemplate("{{ target 2 }}", active), "t2");
  EXPECT_EQ(*ExpandMountTemplate("lowerdir={{ overlay 0 2 }}", active), "lowerdir=/m/0:/m/1:/m/2");
  EXPECT_EQ(*ExpandMountTemplate("{{ overlay 2 0 }}", active), "/m/2:/m/1:/m/0");
  EXPECT_EQ(*ExpandMountTemplate("{{ overlay 1 1 }}", active), "/m/1");
  for (const char* wrong : {"{{ mount 3 }}", "{{ mount -1 }}", "{{ mount }}", "{{ mount 0",
                            "{{ x }}", "{{ overlay 0 9 }}", "{{}}", "{{ mount 0 1 }}"}) {
    auto expanded = ExpandMountTemplate(wrong, active);
    ASSERT_FALSE(expanded.ok()) << wrong;
    EXPECT_EQ(expanded.error().kind(), ErrorKind::kInvalidArgument) << wrong;
  }
}

class MountTransformTest : public ::testing::Test {
 protected:
  MountTransformTest() { std::filesystem::create_directories(root_ + "/in"); }
  ~MountTransformTest() override { std::filesystem::remove_all(root_); }
  Result<> Apply(const std::string& type, const std::string& source,
                 const std::vector<std::string>& options) {
    mount_.Clear();
    mount_.set_type(type);
    mount_.set_source(source);
    for (const auto& option : options) mount_.add_options(option);
    return TransformMount({.active = active_, .roots = {root_}}, &mount_);
  }
  const std::string root_ = ::testing::TempDir() + "mount-format-" + RandomHex(4);
  const ActiveMounts active_ = ThreeActive();
  ::containerd::types::Mount mount_;
};

TEST_F(MountTransformTest, MakesDirectoriesBelowTheRoots) {
  std::string path = root_ + "/in/new";
  ASSERT_TRUE(Apply("mkdir/bind", "/x", {"X-containerd.mkdir.path=" + path + ":0750", "ro"}).ok());
  EXPECT_EQ(mount_.type(), "bind");
  ASSERT_EQ(mount_.options_size(), 1);
  EXPECT_EQ(mount_.options(0), "ro");
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0750u);
  std::filesystem::create_symlink("/tmp", root_ + "/in/out");
  for (const std::string& wrong :
       {std::string("/elsewhere"), root_ + "/in/out/made", root_ + "/../made", root_ + "x/made"}) {
    EXPECT_FALSE(Apply("mkdir/bind", "/x", {"X-containerd.mkdir.path=" + wrong}).ok()) << wrong;
  }
  EXPECT_FALSE(Apply("mkdir/bind", "/x", {"X-containerd.mkdir.path=" + path + ":9"}).ok());
  EXPECT_FALSE(Apply("mkdir/bind", "/x", {"X-containerd.mkdir.path=" + path + ":700:1"}).ok());
  EXPECT_FALSE(Apply("mkdir/bind", "/x", {"X-containerd.mkdir.nosuch=1"}).ok());
}

TEST_F(MountTransformTest, MkfsChecksItsOptions) {
  std::string file = root_ + "/in/disk";
  EXPECT_FALSE(Apply("mkfs/loop", file, {}).ok());
  EXPECT_FALSE(
      Apply("mkfs/loop", file, {"X-containerd.mkfs.size=1MiB", "X-containerd.mkfs.fs=vfat"}).ok());
  EXPECT_FALSE(Apply("mkfs/loop", file, {"X-containerd.mkfs.size=x"}).ok());
  EXPECT_FALSE(
      Apply("mkfs/loop", file, {"X-containerd.mkfs.size=1MiB", "X-containerd.mkfs.y=1"}).ok());
  EXPECT_FALSE(Apply("mkfs/loop", "/elsewhere", {"X-containerd.mkfs.size=1MiB"}).ok());
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/in"));
}

TEST_F(MountTransformTest, AnUnknownPrefixIsAPartOfTheType) {
  ASSERT_TRUE(Apply("format/fuse/x", "{{ mount 0 }}", {}).ok());
  EXPECT_EQ(mount_.type(), "fuse/x");
  EXPECT_EQ(mount_.source(), "/m/0");
}

}  // namespace
}  // namespace gantry::containerd
