// SPDX-License-Identifier: Apache-2.0
#include "containerd/collection_schedule.h"

#include <gtest/gtest.h>

namespace gantry::containerd {
namespace {

using namespace std::chrono_literals;

const CollectionSchedule::Time kStart = CollectionSchedule::Time{} + 1h;

void Collect(CollectionSchedule& schedule, CollectionSchedule::Time begin,
             CollectionSchedule::Time end) {
  schedule.Begun();
  schedule.Ended(begin, end);
}

TEST(CollectionSchedule, OneServesAGroupOfDeletions) {
  CollectionSchedule schedule({}, kStart);
  EXPECT_FALSE(schedule.due().has_value());
  EXPECT_TRUE(schedule.Deleted(kStart));
  EXPECT_EQ(schedule.due(), kStart + 500ms);
  EXPECT_FALSE(schedule.Deleted(kStart + 100ms));
  EXPECT_EQ(schedule.due(), kStart + 500ms);
  Collect(schedule, kStart + 500ms, kStart + 600ms);
  EXPECT_FALSE(schedule.due().has_value());
}

TEST(CollectionSchedule, ThePauseThresholdSpacesThem) {
  CollectionSchedule schedule({.pause_threshold = 0.1, .deletion_threshold = 3}, kStart);
  Collect(schedule, kStart, kStart + 100ms);  // so 900 ms for everybody else
  CollectionSchedule::Time end = kStart + 100ms;
  EXPECT_TRUE(schedule.Deleted(end));
  EXPECT_EQ(schedule.due(), end + 900ms);
  EXPECT_FALSE(schedule.Deleted(end + 10ms));
  EXPECT_TRUE(schedule.Deleted(end + 20ms)) << "the third is too many to wait for";
  EXPECT_EQ(schedule.due(), end + 520ms);
  Collect(schedule, end + 520ms, end + 620ms);
  EXPECT_TRUE(schedule.Deleted(end + 10s));
  EXPECT_EQ(schedule.due(), end + 10s) << "the time is over";
}

TEST(CollectionSchedule, NoThresholdIsASecond) {
  CollectionSchedule schedule({.pause_threshold = 0, .deletion_threshold = 0}, kStart);
  Collect(schedule, kStart, kStart + 1ms);
  EXPECT_TRUE(schedule.Deleted(kStart + 2ms));
  EXPECT_EQ(schedule.due(), kStart + 1ms + 1s);
}

TEST(CollectionSchedule, ManyChangesAreAsOneDeletion) {
  CollectionSchedule schedule({.mutation_threshold = 3, .delay = 7ms}, kStart);
  EXPECT_FALSE(schedule.Changed(kStart));
  EXPECT_FALSE(schedule.Changed(kStart));
  EXPECT_TRUE(schedule.Changed(kStart));
  EXPECT_EQ(schedule.due(), kStart + 7ms);
  Collect(schedule, kStart, kStart);
  EXPECT_FALSE(schedule.Changed(kStart)) << "they are counted anew";
  CollectionSchedule never({.mutation_threshold = 0}, kStart);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(never.Changed(kStart));
}

TEST(CollectionSchedule, WhatIsDeletedMeanwhileIsForTheNextOne) {
  CollectionSchedule schedule({.pause_threshold = 0.5}, kStart);
  schedule.Begun();
  EXPECT_TRUE(schedule.Deleted(kStart + 1ms));
  schedule.Ended(kStart, kStart + 2ms);
  EXPECT_EQ(schedule.due(), kStart + 501ms);
}

TEST(CollectionSchedule, TheFirstOneAfterAStart) {
  CollectionSchedule schedule({.startup_delay = 100ms}, kStart);
  EXPECT_EQ(schedule.due(), kStart + 100ms);
  EXPECT_FALSE(schedule.Deleted(kStart)) << "that one will do";
}

}  // namespace
}  // namespace gantry::containerd
