// SPDX-License-Identifier: Apache-2.0
#include "base/start_trace.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"

namespace gantry {
namespace {

TEST(StartTraceTest, StepsComeBackFromTheFile) {
  char bundle[] = "/tmp/gantry-trace-XXXXXX";
  ASSERT_NE(::mkdtemp(bundle), nullptr);
  std::string path = std::string(bundle) + "/trace";
  StartTrace nobody("shim");
  nobody.Lap("not written");
  EXPECT_TRUE(nobody.AppendTo(bundle).ok());
  EXPECT_FALSE(PathExists(path));

  StartTrace daemon("containerd");
  daemon.Lap("start the shim");
  ASSERT_TRUE(daemon.CreateIn(bundle).ok());
  StartTrace shim("shim");
  shim.Lap("one");
  shim.Lap("two words");
  ASSERT_TRUE(shim.AppendTo(bundle).ok());
  std::vector<TraceStep> steps = ParseTrace(ReadFile(path).value_or(""));
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].process, "containerd");
  EXPECT_EQ(steps[2].name, "two words");
  EXPECT_EQ(steps[2].begin, steps[1].end);
  EXPECT_EQ(steps[2].pid, ::getpid());
  ::unlink(path.c_str());
  ::rmdir(bundle);
}

TEST(StartTraceTest, OddLinesAreLeftOut) {
  EXPECT_TRUE(ParseTrace("").empty());
  EXPECT_TRUE(ParseTrace("shim 1 2 x step\nshim 1 2 3\n\n").empty());
  EXPECT_EQ(ParseTrace("shim 1 2 3 step\n").size(), 1u);
}

}  // namespace
}  // namespace gantry
