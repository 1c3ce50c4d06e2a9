// SPDX-License-Identifier: Apache-2.0
#include "kernel/descriptor_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/text.h"
#include "kernel/spawn.h"

namespace gantry::kernel {
namespace {

std::string LimitOfChild() {
  SpawnOptions options;
  options.program = "/bin/sh";
  options.args = {"sh", "-c", "ulimit -Sn"};
  auto output = SpawnAndRead(options, Captured::kOutput, 100);
  return output.ok() ? std::string(Trim(output->text)) : output.error().message();
}

rlimit LimitHere() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit;
}

// In a process of its own, whose limit it changes; the number of the step that went wrong, or 0.
int RaiseTwice() {
  const rlimit low{500, LimitHere().rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &low) != 0 || LimitOfChild() != "500") return 1;
  if (!RaiseDescriptorLimit().ok() || LimitHere().rlim_cur != low.rlim_max) return 2;
  if (LimitOfChild() != "500") return 3;
  if (!RaiseDescriptorLimit().ok() || LimitOfChild() != "500") return 4;
  return 0;
}

TEST(DescriptorLimit, IsRaisedButNotForSpawnedPrograms) {
  ASSERT_GT(LimitHere().rlim_max, 500U);
  EXPECT_EXIT(::_exit(RaiseTwice()), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gantry::kernel
