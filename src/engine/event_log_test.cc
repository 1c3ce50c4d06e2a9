// SPDX-License-Identifier: Apache-2.0
#include "engine/event_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/io.h"
#include "base/random.h"

namespace gantry::engine {
namespace {

Event Named(const std::string& action) {
  Event event;
  event.type = "container";
  event.action = action;
  event.actor_id = "id";
  event.attributes["name"] = "n";
  event.time = FromUnixNanos(5);
  return event;
}

class EventLogTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(MakeDirectories(directory_, 0700).ok()); }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  const std::string directory_ = testing::TempDir() + "gantry-event-log-" + RandomHex(8);
};

TEST_F(EventLogTest, KnowsWhatWasToldBeforeARestart) {
  (*EventLog::Open(directory_))->Append(Named("die"));
  auto log = *EventLog::Open(directory_);
  EXPECT_TRUE(log->HasRecent(Named("die")));
  EXPECT_FALSE(log->HasRecent(Named("start")));
  Event other = Named("die");
  other.actor_id = "other";
  EXPECT_FALSE(log->HasRecent(other));
  Event later = Named("die");
  later.time = FromUnixNanos(6);
  EXPECT_FALSE(log->HasRecent(later));
}

TEST_F(EventLogTest, SurvivesItsProcess) {
  const std::string& directory = directory_;
  {
    auto log = *EventLog::Open(directory);
    log->Append(Named("create"));
    log->Append(Named("start"));
  }
  auto log = *EventLog::Open(directory);
  EXPECT_EQ(log->last_number(), 2u);
  log->Append(Named("die"));
  auto events = *log->After(1, 10);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].event.action, "start");
  EXPECT_EQ(events[1].number, 3u);
  EXPECT_EQ(events[1].event.attributes.at("name"), "n");
  // No two have one time, although the clock said so.
  EXPECT_EQ(UnixNanos(events[1].event.time), 7);
}

TEST_F(EventLogTest, ATornLineTakesNobodyWithIt) {
  const std::string& directory = directory_;
  {
    auto log = *EventLog::Open(directory);
    log->Append(Named("create"));
  }
  UniqueFd file = *OpenFile(directory + "/events.log", O_WRONLY | O_APPEND);
  ASSERT_TRUE(WriteAll(file, R"({"number":2,"ti)").ok());
  {
    auto log = *EventLog::Open(directory);
    log->Append(Named("start"));
  }
  auto log = *EventLog::Open(directory);
  auto events = *log->After(0, 10);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].event.action, "start");
}

TEST_F(EventLogTest, ReadsBackFurtherThanMemoryGoes) {
  auto log = *EventLog::Open(directory_);
  for (int i = 0; i < 3000; ++i) log->Append(Named(std::to_string(i)));
  auto events = *log->After(10, 5);
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0].number, 11u);
  EXPECT_EQ(events[0].event.action, "10");
  EXPECT_EQ(log->After(2995, 100)->size(), 5u);
}

TEST_F(EventLogTest, FindsEveryNumberInItsFiles) {
  auto log = *EventLog::Open(directory_);
  // Over a rotation, with lines of all sizes.
  for (int i = 1; i <= 5000; ++i) {
    Event event = Named(std::to_string(i));
    event.attributes["fill"] = std::string(static_cast<size_t>(i * 37 % 5000), 'x');
    log->Append(event);
  }
  for (uint64_t number : {1700u, 1999u, 2000u, 2500u, 2900u}) {
    auto events = *log->After(number, 3);
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[0].number, number + 1);
    EXPECT_EQ(events[2].event.action, std::to_string(number + 3));
  }
  auto events = *log->After(0, 1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_LT(events[0].number, 1700u);
  EXPECT_EQ(log->NumberBefore(FromUnixNanos(5)), 0u);
  EXPECT_EQ(log->NumberBefore(FromUnixNanos(4 + 4000)), 3999u);
}

TEST_F(EventLogTest, ListenersHearUntilTheyLeave) {
  auto log = *EventLog::Open(directory_);
  int heard = 0;
  uint64_t id = log->Listen([&](const NumberedEvent&) { ++heard; });
  log->Append(Named("a"));
  log->Unlisten(id);
  log->Append(Named("b"));
  EXPECT_EQ(heard, 1);
}

}  // namespace
}  // namespace gantry::engine
