// SPDX-License-Identifier: Apache-2.0
#include "runtime/process_settings.h"

#include <gtest/gtest.h>

#include "base/io.h"

namespace gantry::runtime {
namespace {

using Mask = std::vector<unsigned long>;

TEST(ProcessSettings, NumberLists) {
  EXPECT_EQ(ParseNumberList("0", "x").value(), Mask{1});
  EXPECT_EQ(ParseNumberList("0-3,7", "x").value(), Mask{0x8f});
  EXPECT_EQ(ParseNumberList("63-64", "x").value(), (Mask{1UL << 63, 1}));
  for (const char* bad : {"", ",", "1,", "-1", "1-", "3-1", "x", "1 ", "8192", "4294967296"}) {
    EXPECT_FALSE(ParseNumberList(bad, "x").ok()) << bad;
  }
}

TEST(ProcessSettings, PersonalityAndMemoryPolicy) {
  oci::LinuxPlatform platform;
  platform.personality = oci::Personality{"LINUX32", {}};
  platform.memory_policy = oci::MemoryPolicy{"MPOL_BIND", "0", {"MPOL_F_STATIC_NODES"}};
  child::ProcessPlan plan;
  ASSERT_TRUE(FillProcessSettings(platform, &plan).ok());
  EXPECT_EQ(plan.personality, 8);
  EXPECT_EQ(plan.memory_policy->mode, 2 | 1 << 15);
  EXPECT_EQ(plan.memory_policy->nodes, Mask{1});
  platform.personality->domain = "BSD";
  EXPECT_FALSE(FillProcessSettings(platform, &plan).ok());
  platform.personality = oci::Personality{"LINUX", {"X"}};
  EXPECT_FALSE(FillProcessSettings(platform, &plan).ok());
}

TEST(ProcessSettings, LabelsNeedTheirKernel) {
  oci::LinuxPlatform platform;
  EXPECT_TRUE(CheckLabels(platform).ok());
  platform.mount_label = "system_u:object_r:container_file_t:s0";
  EXPECT_EQ(CheckLabels(platform).ok(), PathExists("/sys/fs/selinux/enforce"));
}

}  // namespace
}  // namespace gantry::runtime
