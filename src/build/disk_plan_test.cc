// SPDX-License-Identifier: Apache-2.0
#include "build/disk_plan.h"

#include <gtest/gtest.h>

namespace gantry::build {
namespace {

constexpr int64_t kMega = 1 << 20;
const WallTime kNow = FromUnixNanos(int64_t{1'700'000'000} * 1'000'000'000);

DiskItem Item(const std::string& name, int hours_ago, std::vector<engine::DiskPart> parts,
              const std::string& needed_by = "") {
  DiskItem item;
  item.id = item.name = name;
  item.used_at = kNow - std::chrono::hours(hours_ago);
  item.parts = std::move(parts);
  item.needed_by = needed_by;
  return item;
}

std::vector<std::string> Going(const DiskPlan& plan) {
  std::vector<std::string> names;
  for (const DiskDecision& one : plan.decisions) {
    if (one.goes) names.push_back(one.item.name);
  }
  return names;
}

TEST(DiskPlan, NothingGoesWithinTheBudget) {
  DiskNeed need{10 * kMega, 9 * kMega, 2 * kMega, {Item("a", 5, {{"a", 8 * kMega}})}};
  DiskPlan plan = MakeDiskPlan(need, kNow);
  EXPECT_EQ(plan.used, 10 * kMega);
  EXPECT_EQ(plan.after, plan.used);
  EXPECT_TRUE(Going(plan).empty());
  EXPECT_EQ(plan.decisions[0].reason, "used 5 hours ago; there is room");
}

TEST(DiskPlan, TheOldestGoUntilTheTargetIsMet) {
  DiskNeed need{10 * kMega, 9 * kMega, 0, {}};
  need.items = {Item("new", 1, {{"n", 4 * kMega}}), Item("oldest", 50, {{"o", 4 * kMega}}),
                Item("old", 10, {{"p", 4 * kMega}})};
  DiskPlan plan = MakeDiskPlan(need, kNow);
  EXPECT_EQ(Going(plan), std::vector<std::string>{"oldest"});
  EXPECT_EQ(plan.decisions[0].reason, "used 2 days ago, nobody needs it");
  EXPECT_EQ(plan.decisions[0].freed, 4 * kMega);
  EXPECT_EQ(plan.after, 8 * kMega);
}

TEST(DiskPlan, WhatIsNeededStaysHoweverOldItIs) {
  DiskNeed need{1 * kMega, 1 * kMega, 3 * kMega, {}};
  need.items = {Item("needed", 50, {{"o", 4 * kMega}}, "container web has it"),
                Item("free", 1, {{"n", 4 * kMega}})};
  DiskPlan plan = MakeDiskPlan(need, kNow);
  EXPECT_EQ(Going(plan), std::vector<std::string>{"free"});
  EXPECT_EQ(plan.decisions[1].reason, "container web has it");
  EXPECT_EQ(plan.after, 7 * kMega);  // it can't be met
}

TEST(DiskPlan, WhatFreesNothingAloneWaitsForWhatSharesIt) {
  DiskNeed need{5 * kMega, 4 * kMega, 0, {}};
  need.items = {Item("base", 90, {{"base", 4 * kMega}, {"a", 100}}),
                Item("app", 50, {{"base", 4 * kMega}, {"app", 2 * kMega}}),
                Item("needed", 70, {{"x", kMega}}, "a build that runs uses it")};
  // The base alone frees 100 bytes, so the younger one that is worth it goes first.
  EXPECT_EQ(Going(MakeDiskPlan(need, kNow)), (std::vector<std::string>{"app", "base"}));
}

TEST(DiskPlan, TwoThatShareAllGoBoth) {
  DiskNeed need{kMega, kMega, 0, {}};
  need.items = {Item("image", 2, {{"layer", 4 * kMega}}), Item("step", 1, {{"layer", 4 * kMega}})};
  DiskPlan plan = MakeDiskPlan(need, kNow);
  EXPECT_EQ(Going(plan), (std::vector<std::string>{"image", "step"}));
  EXPECT_EQ(plan.decisions[0].freed, 0);
  EXPECT_EQ(plan.decisions[1].freed, 4 * kMega);
  EXPECT_EQ(plan.after, 0);
}

}  // namespace
}  // namespace gantry::build
