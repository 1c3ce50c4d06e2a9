// SPDX-License-Identifier: Apache-2.0
#include "containerd/event_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/io.h"
#include "base/random.h"

namespace gantry::containerd {
namespace {

class EventLogTest : public ::testing::Test {
 protected:
  ~EventLogTest() override { std::filesystem::remove_all(root_); }
  std::unique_ptr<EventLog> Open() {
    return std::move(EventLog::Open(root_, {.segment_bytes = 200, .segments = 3})).value();
  }
  static uint64_t Add(EventLog& log, int number) {
    ::containerd::types::Envelope envelope;
    envelope.set_topic("/event/" + std::to_string(number));
    return log.Append(envelope);
  }
  static std::vector<std::string> Topics(EventLog& log, uint64_t from) {
    std::vector<std::string> topics;
    while (true) {
      auto events = log.Read(from, 64);
      EXPECT_TRUE(events.ok());
      if (!events.ok() || events->empty()) return topics;
      for (const auto& event : *events) topics.push_back(event.topic());
      from += events->size();
    }
  }
  size_t Segments() {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(root_)) {
      count += entry.path().extension() == ".log" ? 1 : 0;
    }
    return count;
  }
  const std::string root_ = ::testing::TempDir() + "event-log-" + RandomHex(4);
};

TEST_F(EventLogTest, NumbersGoOnAfterAnOpening) {
  {
    auto log = Open();
    EXPECT_EQ(Add(*log, 1), 1u);
    EXPECT_EQ(Add(*log, 2), 2u);
  }
  auto log = Open();
  EXPECT_EQ(Add(*log, 3), 3u);
  EXPECT_EQ(Topics(*log, 1), (std::vector<std::string>{"/event/1", "/event/2", "/event/3"}));
  EXPECT_EQ(*log->Resolve(log->CursorAfter(2)), 3u);
  EXPECT_EQ(*log->Resolve(""), 4u);
  EXPECT_EQ(*log->Resolve("oldest"), 1u);
}

TEST_F(EventLogTest, OldSegmentsGo) {
  auto log = Open();
  std::string first = log->CursorAfter(1);
  for (int i = 1; i <= 100; ++i) Add(*log, i);
  EXPECT_EQ(Segments(), 3u);
  auto gone = log->Resolve(first);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().kind(), ErrorKind::kOutOfRange);
  uint64_t oldest = *log->Resolve("oldest");
  EXPECT_GT(oldest, 2u);
  auto topics = Topics(*log, oldest);
  EXPECT_EQ(topics.front(), "/event/" + std::to_string(oldest));
  EXPECT_EQ(topics.back(), "/event/100");
  EXPECT_EQ(topics.size(), 101 - oldest);
  EXPECT_FALSE(log->Read(oldest - 1, 64).ok());
}

TEST_F(EventLogTest, ATornEndIsCutOff) {
  {
    auto log = Open();
    Add(*log, 1);
    Add(*log, 2);
  }
  std::string path = root_ + "/00000000000000000001.log";
  auto size = std::filesystem::file_size(path);
  for (size_t cut = 1; cut < size / 2; ++cut) {
    std::filesystem::resize_file(path, size - cut);
    auto log = Open();
    EXPECT_EQ(Topics(*log, 1), std::vector<std::string>{"/event/1"});
    EXPECT_EQ(Add(*log, 2), 2u);
    EXPECT_EQ(std::filesystem::file_size(path), size);
  }
}

TEST_F(EventLogTest, ADamagedSegmentLosesWhatIsBeforeIt) {
  {
    auto log = Open();
    for (int i = 1; i <= 12; ++i) Add(*log, i);
  }
  ASSERT_GE(Segments(), 2u);
  std::string path = root_ + "/00000000000000000001.log";
  auto bytes = ReadFile(path);
  (*bytes)[10] ^= 1;
  ASSERT_TRUE(CreateFile(path, *bytes, 0600).ok());
  auto log = Open();
  uint64_t oldest = *log->Resolve("oldest");
  EXPECT_GT(oldest, 1u);
  EXPECT_EQ(Topics(*log, oldest).back(), "/event/12");
  EXPECT_EQ(Add(*log, 13), 13u);
}

TEST_F(EventLogTest, CursorsOfOthersAreRefused) {
  auto log = Open();
  Add(*log, 1);
  for (const char* wrong : {"x", "-", "1", "0123456789abcdef-", "0123456789abcdef-x", "-1"}) {
    auto resolved = log->Resolve(wrong);
    ASSERT_FALSE(resolved.ok()) << wrong;
    EXPECT_EQ(resolved.error().kind(), ErrorKind::kInvalidArgument) << wrong;
  }
  EXPECT_EQ(log->Resolve("0123456789abcdef-1").error().kind(), ErrorKind::kOutOfRange);
  EXPECT_EQ(log->Resolve(log->CursorAfter(2)).error().kind(), ErrorKind::kOutOfRange);
}

// A full disk: the event still has a number, and no cursor pretends that it could be read.
TEST_F(EventLogTest, WhatCannotBeWrittenLeavesNoGap) {
  auto log = Open();
  Add(*log, 1);
  std::string before = log->CursorAfter(1);
  ::containerd::types::Envelope large;
  large.mutable_event()->set_value(std::string(size_t{17} << 20, 'x'));
  EXPECT_EQ(log->Append(large), 2u);
  EXPECT_EQ(Add(*log, 3), 3u);
  EXPECT_EQ(log->Resolve(before).error().kind(), ErrorKind::kOutOfRange);
  EXPECT_EQ(Topics(*log, 3), std::vector<std::string>{"/event/3"});
}

}  // namespace
}  // namespace gantry::containerd
