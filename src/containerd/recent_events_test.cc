// SPDX-License-Identifier: Apache-2.0
#include "containerd/recent_events.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"

namespace gantry::containerd {
namespace {

::containerd::types::Envelope Event(int number) {
  ::containerd::types::Envelope envelope;
  envelope.set_topic("/tasks/exit");
  envelope.mutable_timestamp()->set_nanos(number);
  return envelope;
}

TEST(RecentEvents, KnowsTheLastOnes) {
  RecentEvents recent;
  int count = static_cast<int>(RecentEvents::kCount);
  for (int i = 0; i <= count; ++i) EXPECT_FALSE(recent.Repeats(Event(i), nullptr));
  EXPECT_TRUE(recent.Repeats(Event(count), nullptr));
  EXPECT_TRUE(recent.Repeats(Event(1), nullptr));
  EXPECT_FALSE(recent.Repeats(Event(0), nullptr)) << "it is too long ago";
}

TEST(RecentEvents, AndThoseOfTheLog) {
  std::string directory = ::testing::TempDir() + "recent-events-" + RandomHex(4);
  int count = static_cast<int>(RecentEvents::kCount) + 10;
  {
    auto log = std::move(EventLog::Open(directory)).value();
    for (int i = 0; i < count; ++i) log->Append(Event(i));
  }
  auto log = std::move(EventLog::Open(directory)).value();
  RecentEvents recent;
  EXPECT_TRUE(recent.Repeats(Event(count - 1), log.get()));
  EXPECT_TRUE(recent.Repeats(Event(20), log.get()));
  EXPECT_FALSE(recent.Repeats(Event(count), log.get()));
  EXPECT_FALSE(recent.Repeats(Event(0), log.get()));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace gantry::containerd
