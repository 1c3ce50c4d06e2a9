// SPDX-License-Identifier: Apache-2.0
#include "kernel/spread.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

#include <cerrno>
#include <filesystem>

#include "base/io.h"
#include "base/random.h"

namespace gantry::kernel {
namespace {

TEST(Spread, Directory) {
  std::string path = testing::TempDir() + "/spread-" + RandomHex(8);
  std::filesystem::create_directory(path);
  for (int twice = 0; twice < 2; ++twice) {
    Result<> spread = SpreadSubdirectories(path);
    EXPECT_TRUE(spread.ok()) << spread.error().message();
  }
  struct statfs system = {};
  ASSERT_EQ(::statfs(path.c_str(), &system), 0);
  if (system.f_type == EXT4_SUPER_MAGIC) {
    UniqueFd directory = *OpenFile(path, O_RDONLY | O_DIRECTORY);
    int flags = 0;
    ASSERT_EQ(::ioctl(directory.get(), FS_IOC_GETFLAGS, &flags), 0);
    EXPECT_NE(flags & FS_TOPDIR_FL, 0);
  }
  std::filesystem::remove(path);
  EXPECT_EQ(SpreadSubdirectories(path).error().error_number(), ENOENT);
}

// One that has no such flag.
TEST(Spread, OtherFileSystem) {
  Result<> spread = SpreadSubdirectories("/proc");
  EXPECT_TRUE(spread.ok()) << spread.error().message();
}

}  // namespace
}  // namespace gantry::kernel
