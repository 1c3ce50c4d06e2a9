// SPDX-License-Identifier: Apache-2.0
#include "engine/untold_events.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

Event Named(const std::string& action, const std::string& actor) {
  Event event;
  event.type = "container";
  event.action = action;
  event.actor_id = actor;
  event.attributes = {{"name", "n"}, {"label", "x y"}};
  event.time = FromUnixNanos(17);
  return event;
}

class UntoldEventsTest : public testing::Test {
 protected:
  void SetUp() override { store_ = *Store::Open(path_); }
  void TearDown() override {
    store_.reset();
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path_ + end);
  }
  // What a process that comes after a kill finds.
  std::vector<std::string> Left() {
    std::vector<std::string> out;
    for (const Untold& untold : *store_->untold().List()) {
      out.push_back(untold.event.action + " " + untold.event.actor_id + " " + untold.subject);
    }
    return out;
  }

  const std::string path_ = testing::TempDir() + "gantry-untold-" + RandomHex(8);
  std::unique_ptr<Store> store_;
};

TEST_F(UntoldEventsTest, ComesWithItsRecordAndSurvivesItsProcess) {
  ContainerRecord record;
  record.id = "c1";
  Event event = Named("start", "c1");
  ASSERT_TRUE(store_->PutContainer(record, &event).ok());
  store_.reset();
  store_ = *Store::Open(path_);
  EXPECT_EQ(store_->ListContainers()->size(), 1u);
  std::vector<Untold> left = *store_->untold().List();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].event.attributes, event.attributes);
  EXPECT_EQ(left[0].event.time, event.time);
  EXPECT_EQ(left[0].event.type, "container");
  ASSERT_TRUE(store_->untold().Clear().ok());
  EXPECT_TRUE(Left().empty());
}

TEST_F(UntoldEventsTest, WhatWasToldGoesWithTheNext) {
  UntoldEvents& untold = store_->untold();
  ASSERT_TRUE(untold.Put(Named("start", "c1")).ok());
  ASSERT_TRUE(untold.Put(Named("start", "c2")).ok());
  untold.Done(Named("start", "c1"));
  untold.Done(Named("exec_create: ls", "c1"));  // never put
  EXPECT_EQ(Left(), (std::vector<std::string>{"start c1 ", "start c2 "}));
  ASSERT_TRUE(untold.Put(Named("pause", "c3")).ok());
  EXPECT_EQ(Left(), (std::vector<std::string>{"pause c3 ", "start c2 "}));
  // The same one again, after it was told.
  untold.Done(Named("start", "c2"));
  ASSERT_TRUE(untold.Put(Named("start", "c2")).ok());
  EXPECT_EQ(Left(), (std::vector<std::string>{"pause c3 ", "start c2 "}));
}

TEST_F(UntoldEventsTest, SubjectsAreApart) {
  UntoldEvents& untold = store_->untold();
  ASSERT_TRUE(untold.Put(Named("untag", "i"), "a:1").ok());
  ASSERT_TRUE(untold.Put(Named("untag", "i"), "a:2").ok());
  untold.Done(Named("untag", "i"), "a:1");
  ASSERT_TRUE(untold.Put(Named("create", "c"), "").ok());
  EXPECT_EQ(Left(), (std::vector<std::string>{"create c ", "untag i a:2"}));
}

}  // namespace
}  // namespace gantry::engine
