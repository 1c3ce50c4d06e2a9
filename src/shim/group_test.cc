// SPDX-License-Identifier: Apache-2.0
#include "shim/group.h"

#include <gtest/gtest.h>

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;

TEST(AwaitedMembers, AreGivenUpAfterAWhile) {
  auto loop = EventLoop::Create();
  ASSERT_TRUE(loop.ok());
  int expired = 0;
  AwaitedMembers members(loop->get(), [&] { ++expired; }, 20ms);
  members.Add("a");
  members.Add("b");
  members.Add("b");
  members.Remove("a");
  members.Remove("nosuch");
  EXPECT_FALSE(members.empty());
  for (int i = 0; i < 100 && !members.empty(); ++i) ASSERT_TRUE((*loop)->RunOnce(10ms).ok());
  EXPECT_TRUE(members.empty());
  EXPECT_EQ(expired, 1);
}

TEST(AwaitedMembers, NobodyIsThereToJoin) {
  EXPECT_FALSE(JoinGroup("/nonexistent/socket", "a").ok());
}

}  // namespace
}  // namespace gantry::shim
