// SPDX-License-Identifier: Apache-2.0
#include "kernel/paths.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "base/io.h"

namespace gantry::kernel {
namespace {

namespace fs = std::filesystem;

class PathsTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/gantry-paths-XXXXXX";
    top_ = ::mkdtemp(path);
    fs::create_directories(top_ + "/root/a/b");
    ASSERT_TRUE(CreateFile(top_ + "/secret", "secret", 0600).ok());
    ASSERT_TRUE(CreateFile(top_ + "/root/a/f", "inside", 0600).ok());
    fs::create_symlink("/a", top_ + "/root/absolute");
    fs::create_symlink("../../secret", top_ + "/root/escape");
    fs::create_symlink("/proc/self/root", top_ + "/root/magic");
    root_ = std::move(*OpenRoot(top_ + "/root"));
  }
  void TearDown() override { fs::remove_all(top_); }
  std::string top_;
  UniqueFd root_;
};

TEST_F(PathsTest, LinksStayInTheRoot) {
  auto fd = OpenIn(root_, "absolute/f", O_RDONLY);
  ASSERT_TRUE(fd.ok());
  EXPECT_EQ(*ReadToEnd(*fd, 100), "inside");
  EXPECT_FALSE(OpenIn(root_, "escape", O_RDONLY).ok());
  EXPECT_FALSE(OpenIn(root_, "../secret", O_RDONLY).ok());
  EXPECT_FALSE(OpenIn(root_, "magic/etc/passwd", O_RDONLY).ok());
  EXPECT_TRUE(OpenIn(root_, "../../a/f", O_RDONLY).ok()) << "'..' of the root is the root";
}

TEST_F(PathsTest, LinksAreRefused) {
  EXPECT_EQ(OpenIn(root_, "absolute/f", O_RDONLY, 0, Links::kRefuse).error().error_number(), ELOOP);
  EXPECT_TRUE(OpenIn(root_, "a/f", O_RDONLY, 0, Links::kRefuse).ok());
  EXPECT_FALSE(OpenIn(root_, "/a/f", O_RDONLY, 0, Links::kRefuse).ok());
}

TEST_F(PathsTest, ParentAndName) {
  auto parent = OpenParentIn(root_, "absolute/new/");
  ASSERT_TRUE(parent.ok());
  EXPECT_EQ(parent->name, "new");
  EXPECT_TRUE(OpenParentIn(root_, "f").ok());
  for (const char* path : {"", "/", ".", "..", "a/..", "a/."}) {
    EXPECT_EQ(OpenParentIn(root_, path).error().kind(), ErrorKind::kInvalidArgument) << path;
  }
}

TEST_F(PathsTest, RemovesTreesWithoutFollowingLinks) {
  fs::create_directories(top_ + "/root/a/b/c/d/e");
  fs::create_symlink(top_ + "/root/../secret", top_ + "/root/a/b/c/link");
  fs::create_directory_symlink(top_, top_ + "/root/a/b/up");
  UniqueFd top = std::move(*OpenRoot(top_));
  ASSERT_TRUE(RemoveTreeAt(top, "root").ok());
  EXPECT_FALSE(fs::exists(top_ + "/root"));
  EXPECT_TRUE(fs::exists(top_ + "/secret"));
  EXPECT_TRUE(RemoveTreeAt(top, "root").ok());
  ASSERT_TRUE(RemoveContents(top).ok());
  EXPECT_TRUE(fs::is_empty(top_));
}

}  // namespace
}  // namespace gantry::kernel
