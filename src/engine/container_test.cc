// SPDX-License-Identifier: Apache-2.0
#include "engine/container.h"

#include <gtest/gtest.h>

#include <thread>

namespace gantry::engine {
namespace {

ContainerRecord Record() {
  ContainerRecord record;
  record.id = "abc";
  record.name = "web";
  record.created = FromUnixNanos(5);
  record.config.cmd = {true, {"sh"}};
  record.host.memory = 7;
  record.networking.endpoints_config["net"].aliases = {"a"};
  record.state.exit_code = 3;
  record.state.phase = Phase::kExited;
  return record;
}

TEST(ContainerTest, RecordsSurviveJson) {
  ContainerRecord record = *ParseContainerRecord(ToJson(Record()));
  EXPECT_EQ(record.name, "web");
  EXPECT_EQ(record.created, FromUnixNanos(5));
  EXPECT_EQ(record.config.cmd.words.at(0), "sh");
  EXPECT_EQ(record.host.memory, 7);
  EXPECT_EQ(record.networking.endpoints_config.at("net").aliases.at(0), "a");
  EXPECT_EQ(record.state.exit_code, 3);
  EXPECT_EQ(record.state.phase, Phase::kExited);
}

TEST(ContainerTest, AWaitForWhatHoldsAlreadyAnswersAtOnce) {
  Container container(Record());
  int code = -1;
  container.Wait(WaitCondition::kNotRunning, [&](const WaitResult& r) { code = r.exit_code; });
  EXPECT_EQ(code, 3);
}

TEST(ContainerTest, WaitsEndAtExitOrRemoval) {
  Container container(Record());
  std::string order;
  container.Wait(WaitCondition::kNextExit, [&](const WaitResult&) { order += "exit "; });
  container.Wait(WaitCondition::kRemoved, [&](const WaitResult&) { order += "removed "; });
  uint64_t cancelled =
      container.Wait(WaitCondition::kNextExit, [&](const WaitResult&) { order += "never "; });
  container.CancelWait(cancelled);
  container.NotifyExit();
  EXPECT_EQ(order, "exit ");
  container.NotifyRemoved();
  EXPECT_EQ(order, "exit removed ");
  container.Wait(WaitCondition::kRemoved, [&](const WaitResult&) { order += "late"; });
  EXPECT_EQ(order, "exit removed late");
}

TEST(ContainerTest, NobodyWaitsForTheTurnOfOneThatIsRemoved) {
  Container container(Record());
  EXPECT_TRUE(container.TakeTurnUnlessRemoved()->has_value());
  auto tidying_up = container.TakeTurn();
  ASSERT_TRUE(tidying_up.ok());
  EXPECT_FALSE(container.removed());
  std::thread waiter([&] { EXPECT_FALSE(container.TakeTurnUnlessRemoved()->has_value()); });
  container.NotifyRemoved();
  waiter.join();
  EXPECT_TRUE(container.removed());
  EXPECT_FALSE(container.TakeTurn(std::chrono::milliseconds(1)).ok());
}

TEST(ContainerTest, OneTurnAtATime) {
  Container container(Record());
  {
    Container::Turn turn = *container.TakeTurn();
    EXPECT_EQ(container.TakeTurn(std::chrono::milliseconds(5)).error().kind(),
              ErrorKind::kUnavailable);
  }
  EXPECT_TRUE(container.TakeTurn(std::chrono::milliseconds(5)).ok());
}

TEST(ContainerTest, AttachesAreTakenOnceAndToldOfARemoval) {
  Container container(Record());
  int told = 0;
  container.AddAttach([&](Result<std::string>) { ++told; });
  container.CancelAttach(container.AddAttach([&](Result<std::string>) { told += 10; }));
  EXPECT_EQ(container.TakeAttaches().size(), 1u);
  EXPECT_EQ(told, 0);
  container.AddAttach([&](Result<std::string> socket) { told += socket.ok() ? 100 : 1; });
  container.NotifyRemoved();
  EXPECT_EQ(told, 1);
}

TEST(ContainerDeathTest, AForbiddenChangeOfPhaseIsABug) {
  Container container(Record());
  EXPECT_DEATH(container.Update([](ContainerRecord& r) { r.state.phase = Phase::kPaused; }),
               "MayFollow");
}

}  // namespace
}  // namespace gantry::engine
