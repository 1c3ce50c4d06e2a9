// SPDX-License-Identifier: Apache-2.0
#include "buildkit/log_limit.h"

#include <gtest/gtest.h>

namespace gantry::buildkit {
namespace {

using std::chrono::milliseconds;

class LogLimitTest : public testing::Test {
 protected:
  const SteadyClock::time_point begun_ = SteadyClock::now();
  LogLimit limit_{{.size = 100, .per_second = 40}, begun_};
};

TEST_F(LogLimitTest, TellsWhatIsBelow) {
  EXPECT_EQ(limit_.Take(std::string(40, 'a'), begun_), std::string(40, 'a'));
  EXPECT_EQ(limit_.TakeRest(), "");
}

TEST_F(LogLimitTest, ClipsWhatIsTooFast) {
  EXPECT_EQ(limit_.Take(std::string(50, 'a'), begun_ + milliseconds(10)),
            std::string(40, 'a') + "\n[output clipped, log limit 40B/s reached]\n");
  EXPECT_EQ(limit_.Take("more", begun_ + milliseconds(20)), "");
  // What was left out counts: 54 have come, 80 may have.
  EXPECT_EQ(limit_.Take("slow", begun_ + milliseconds(1500)), "slow");
  EXPECT_EQ(limit_.TakeRest(), std::string(50, 'a') + "more" + "slow");
}

TEST_F(LogLimitTest, ClipsWhatIsTooMuch) {
  EXPECT_EQ(limit_.Take(std::string(90, 'a'), begun_ + milliseconds(2500)), std::string(90, 'a'));
  EXPECT_EQ(limit_.Take(std::string(90, 'b'), begun_ + milliseconds(5000)),
            std::string(10, 'b') + "\n[output clipped, log limit 100B reached]\n");
  EXPECT_EQ(limit_.Take("for ever", begun_ + std::chrono::hours(1)), "");
  EXPECT_EQ(limit_.TakeRest(), std::string(90, 'b') + "for ever");
}

TEST_F(LogLimitTest, KeepsTheEndOfAFlood) {
  constexpr size_t kPiece = 1 << 16;
  for (int i = 0; i < 100; ++i) {
    (void)limit_.Take(std::string(kPiece, static_cast<char>('a' + i % 26)), begun_);
  }
  std::string rest = limit_.TakeRest();
  EXPECT_EQ(rest.size(), size_t{256} << 10);
  EXPECT_EQ(rest.front(), 'a' + 96 % 26);
  EXPECT_EQ(rest.back(), 'a' + 99 % 26);
}

TEST(LogLimitBoundsTest, AreThoseOfBuildKit) {
  SteadyClock::time_point now = SteadyClock::now();
  LogLimit limit(LogLimit::Bounds(), now);
  std::string flood(300 << 10, 'x');
  EXPECT_TRUE(limit.Take(flood, now).ends_with("\n[output clipped, log limit 200KiB/s reached]\n"));
  EXPECT_EQ(limit.Take("quiet", now + std::chrono::seconds(30)), "quiet");
  std::string last = limit.Take(std::string(4 << 20, 'x'), now + std::chrono::seconds(60));
  EXPECT_TRUE(last.ends_with("\n[output clipped, log limit 2MiB reached]\n"));
}

TEST(LogLimitBoundsTest, CanBeNone) {
  SteadyClock::time_point now = SteadyClock::now();
  LogLimit limit({.size = -1, .per_second = -1}, now);
  EXPECT_EQ(limit.Take(std::string(8 << 20, 'x'), now).size(), size_t{8} << 20);
}

}  // namespace
}  // namespace gantry::buildkit
