// SPDX-License-Identifier: Apache-2.0
#include "snapshots/trash.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/io.h"

namespace gantry::snapshots {
namespace {

// What somebody still writes into can't be removed at once; here nothing can be, for a while.
TEST(TrashTest, TriesAgain) {
  char path[] = "/tmp/gantry-trash-XXXXXX";
  std::string top = ::mkdtemp(path);
  std::string taken = top + "/taken";
  ASSERT_TRUE(std::filesystem::create_directories(taken + "/held"));
  ASSERT_TRUE(CreateFile(taken + "/held/file", "x", 0600).ok());
  UniqueFd held = *OpenFile(taken + "/held", O_RDONLY | O_DIRECTORY);
  int flags = 0;
  bool has_flags = ::ioctl(held.get(), FS_IOC_GETFLAGS, &flags) == 0;
  int immutable = flags | FS_IMMUTABLE_FL;
  if (!has_flags || ::ioctl(held.get(), FS_IOC_SETFLAGS, &immutable) != 0) {
    std::filesystem::remove_all(top);
    GTEST_SKIP() << "this file system has no immutable directories";
  }
  auto empty = [&] { return std::filesystem::is_empty(top + "/trash"); };
  auto trash = std::move(*Trash::Open(top + "/trash"));
  ASSERT_TRUE(trash->Take(taken).ok());
  trash->WaitUntilEmpty();
  EXPECT_FALSE(empty());
  ASSERT_EQ(::ioctl(held.get(), FS_IOC_SETFLAGS, &flags), 0);
  auto until = SteadyClock::now() + std::chrono::seconds(20);
  while (!empty() && SteadyClock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(empty());
  trash.reset();
  std::filesystem::remove_all(top);
}

}  // namespace
}  // namespace gantry::snapshots
