// SPDX-License-Identifier: Apache-2.0
#include "engine/health.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Healthcheck Check() {
  Healthcheck check;
  check.test = {"CMD", "true"};
  check.interval = 2'000'000'000;
  check.retries = 2;
  return check;
}

TEST(HealthTest, CommandOfEachForm) {
  ContainerConfig config;
  EXPECT_FALSE(ProbeCommand(config));
  config.healthcheck = Healthcheck{.test = {"NONE"}};
  EXPECT_FALSE(ProbeCommand(config));
  config.healthcheck->test = {"CMD", "a", "b"};
  EXPECT_EQ(*ProbeCommand(config), (std::vector<std::string>{"a", "b"}));
  config.healthcheck->test = {"CMD-SHELL", "a b"};
  EXPECT_EQ(*ProbeCommand(config), (std::vector<std::string>{"/bin/sh", "-c", "a b"}));
  config.shell = {"/bin/ash", "-ec"};
  EXPECT_EQ(*ProbeCommand(config), (std::vector<std::string>{"/bin/ash", "-ec", "a b"}));
}

TEST(HealthTest, FailuresCountOutsideOfTheStartPeriod) {
  Healthcheck check = Check();
  check.start_period = 10'000'000'000;
  WallTime start = FromUnixNanos(1'000'000'000'000);
  auto failed = [&](seconds after) { return ProbeResult{start + after, start + after, 1, "x"}; };
  Health health = HealthAfter({}, check, start, failed(seconds(9)));
  EXPECT_EQ(health.failing_streak, 0);
  health = HealthAfter(health, check, start, failed(seconds(10)));
  EXPECT_EQ(health.failing_streak, 1);
  EXPECT_EQ(health.status, HealthStatus::kStarting);
  health = HealthAfter(health, check, start, failed(seconds(12)));
  EXPECT_EQ(health.status, HealthStatus::kUnhealthy);
  health = HealthAfter(health, check, start, ProbeResult{start, start, 0, ""});
  EXPECT_EQ(health.status, HealthStatus::kHealthy);
  // Once healthy, the start period forgives nothing.
  health = HealthAfter(health, check, start, failed(seconds(1)));
  EXPECT_EQ(health.failing_streak, 1);
  EXPECT_EQ(health.log.size(), 5u);
  health = HealthAfter(health, check, start, failed(seconds(2)));
  EXPECT_EQ(health.log.size(), 5u);
}

TEST(HealthTest, DelayFollowsTheStartPeriod) {
  Healthcheck check = Check();
  ContainerState state;
  state.started_at = FromUnixNanos(0);
  state.health.emplace();
  EXPECT_EQ(ProbeDelay(check, state, FromUnixNanos(5)), seconds(2));
  check.start_period = 10'000'000'000;
  EXPECT_EQ(ProbeDelay(check, state, FromUnixNanos(5)), seconds(5));
  check.start_interval = 300'000'000;
  EXPECT_EQ(ProbeDelay(check, state, FromUnixNanos(5)), milliseconds(300));
  state.health->status = HealthStatus::kHealthy;
  EXPECT_EQ(ProbeDelay(check, state, FromUnixNanos(5)), seconds(2));
  check.interval = 0;
  EXPECT_EQ(ProbeDelay(check, state, FromUnixNanos(5)), seconds(30));
}

TEST(HealthTest, ImageFillsTheGaps) {
  std::optional<Healthcheck> asked = Healthcheck{.interval = 5, .retries = 7};
  MergeHealthcheck(Check(), &asked);
  EXPECT_EQ(asked->test, Check().test);
  EXPECT_EQ(asked->interval, 5);
  EXPECT_EQ(asked->retries, 7);
  std::optional<Healthcheck> none;
  MergeHealthcheck(Check(), &none);
  EXPECT_EQ(none->retries, 2);
}

TEST(HealthTest, OutputInAnyPieces) {
  std::string frames;
  for (std::string text : {std::string("ab"), std::string(5000, 'c')}) {
    frames += std::string("\1\0\0\0\0\0", 6) + static_cast<char>(text.size() >> 8) +
              static_cast<char>(text.size()) + text;
  }
  std::string want = "ab" + std::string(kMaxProbeOutput - 2, 'c') + "...";
  for (size_t step : {size_t{1}, size_t{7}, frames.size()}) {
    ProbeOutput output;
    for (size_t at = 0; at < frames.size(); at += step) {
      output.TakeFrames(std::string_view(frames).substr(at, step));
    }
    EXPECT_EQ(output.text(), want) << step;
  }
}

}  // namespace
}  // namespace gantry::engine
