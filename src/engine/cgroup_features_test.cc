// SPDX-License-Identifier: Apache-2.0
#include "engine/cgroup_features.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

TEST(CgroupFeaturesTest, ListsOfNumbers) {
  for (const char* list : {"", "0", "1-3", "0,2-3", "03,1", "3,2,1", "0-0,0,1-3"}) {
    Result<bool> there = IsInCpuset(list, "0-3");
    ASSERT_TRUE(there.ok()) << list;
    EXPECT_TRUE(*there) << list;
  }
  EXPECT_FALSE(*IsInCpuset("0-4", "0-3"));
  EXPECT_FALSE(*IsInCpuset("0", ""));
  for (const char* list : {"x", "1-", "-1", "3-1", "1,,2", ",", "1-9223372036854775807", "8193"}) {
    EXPECT_FALSE(IsInCpuset(list, "0-3").ok()) << list;
  }
}

}  // namespace
}  // namespace gantry::engine
