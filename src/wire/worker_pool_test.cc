// SPDX-License-Identifier: Apache-2.0
#include "wire/worker_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

namespace gantry::wire {
namespace {

constexpr std::chrono::seconds kSoon{10};
constexpr std::chrono::milliseconds kAMoment{50};

// Workers that wait until they are let go.
class WorkerPoolTest : public testing::Test {
 protected:
  void Fill(WorkerPool& pool, size_t count, bool say_so) {
    std::vector<std::future<void>> begun;
    for (size_t i = 0; i < count; ++i) {
      auto there = std::make_shared<std::promise<void>>();
      begun.push_back(there->get_future());
      pool.Run([there, say_so, go = go_] {
        std::unique_ptr<WorkerPool::Blocked> blocked;
        if (say_so) blocked = std::make_unique<WorkerPool::Blocked>();
        there->set_value();
        go.wait();
      });
    }
    for (auto& each : begun) ASSERT_EQ(each.wait_for(kSoon), std::future_status::ready);
  }

  std::promise<void> let_go_;
  std::shared_future<void> go_ = let_go_.get_future().share();
};

TEST_F(WorkerPoolTest, WhoWaitsForAClientKeepsNobodyFromWorking) {
  WorkerPool pool(2);
  Fill(pool, 20, /*say_so=*/true);
  auto done = pool.Async([] { return 7; });
  ASSERT_EQ(done.wait_for(kSoon), std::future_status::ready);
  EXPECT_EQ(done.get(), 7);
  let_go_.set_value();
}

TEST_F(WorkerPoolTest, WorkBeyondTheLimitWaits) {
  WorkerPool pool(2);
  Fill(pool, 2, /*say_so=*/false);
  auto done = pool.Async([] { return 7; });
  EXPECT_EQ(done.wait_for(kAMoment), std::future_status::timeout);
  let_go_.set_value();
  EXPECT_EQ(done.get(), 7);
}

TEST_F(WorkerPoolTest, WorkThatWaitsInTheQueueGoesOnWhenAWorkerBlocks) {
  WorkerPool pool(1);
  std::promise<void> block;
  pool.Run([blocking = block.get_future().share(), go = go_] {
    blocking.wait();
    WorkerPool::Blocked blocked;
    WorkerPool::Blocked inside;  // counts once
    go.wait();
  });
  auto done = pool.Async([] { return 7; });
  EXPECT_EQ(done.wait_for(kAMoment), std::future_status::timeout);
  block.set_value();
  EXPECT_EQ(done.get(), 7);
  let_go_.set_value();
}

TEST_F(WorkerPoolTest, OutsideOfAPoolItIsNothing) {
  WorkerPool::Blocked blocked;
  EXPECT_FALSE(blocked.crowded());
}

}  // namespace
}  // namespace gantry::wire
