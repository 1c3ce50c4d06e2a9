// SPDX-License-Identifier: Apache-2.0
#include "engine/action_times.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

TEST(ActionTimesTest, CountsEachInAllBoundsAboveIt) {
  ActionTimes times;
  times.Add("start", std::chrono::milliseconds(3));
  times.Add("start", std::chrono::milliseconds(300));
  times.Add("start", std::chrono::seconds(20));
  ActionTimes::Histogram start = times.Of("start");
  EXPECT_EQ(start.count, 3);
  EXPECT_NEAR(start.seconds, 20.303, 0.0001);
  EXPECT_EQ(start.at_most, (std::array<int64_t, 11>{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2}));
  EXPECT_EQ(times.Of("create").count, 0);
}

TEST(ActionTimesTest, WhatIsNotDoneIsNotCounted) {
  ActionTimes times;
  {
    ActionTimer failed(times, "create");
  }
  ActionTimer done(times, "create");
  done.Done();
  EXPECT_EQ(times.Of("create").count, 1);
}

}  // namespace
}  // namespace gantry::engine
