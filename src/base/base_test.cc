// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/io.h"
#include "base/random.h"
#include "base/stop_token.h"
#include "base/text.h"
#include "base/undo.h"
#include "base/unique_fd.h"

namespace gantry {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/gantry-base-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(UniqueFdTest, ClosesOnceAndSurvivesSelfMove) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
  UniqueFd a(pipe_fds[0]);
  UniqueFd b(pipe_fds[1]);
  UniqueFd& alias = a;
  a = std::move(alias);
  EXPECT_TRUE(IsOpen(pipe_fds[0]));
  a = std::move(b);
  EXPECT_FALSE(IsOpen(pipe_fds[0]));
  EXPECT_EQ(a.get(), pipe_fds[1]);
  EXPECT_FALSE(b.valid());  // NOLINT: moved from on purpose
  a.Reset();
  EXPECT_FALSE(IsOpen(pipe_fds[1]));
}

TEST(UndoTest, RunsBackwardsUnlessCommitted) {
  std::string order;
  {
    Undo undo;
    undo.Push([&] { order += "1"; });
    undo.Push([&] { order += "2"; });
    Undo moved = std::move(undo);
    Undo& alias = moved;
    moved = std::move(alias);
  }
  EXPECT_EQ(order, "21");
  {
    Undo undo;
    undo.Push([&] { order += "3"; });
    undo.Commit();
  }
  EXPECT_EQ(order, "21");
}

TEST(ClockTest, FormatsAndParses) {
  WallTime time = FromUnixNanos(1'700'000'000'120'000'000);
  EXPECT_EQ(FormatRfc3339Nano(time), "2023-11-14T22:13:20.12Z");
  EXPECT_EQ(FormatRfc3339Fixed(time), "2023-11-14T22:13:20.120000000Z");
  EXPECT_EQ(UnixNanos(*ParseRfc3339("2023-11-14T23:13:20.12+01:00")), UnixNanos(time));
  for (const char* bad : {"", "2023", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z",
                          "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20Zx"}) {
    EXPECT_FALSE(ParseRfc3339(bad).ok()) << bad;
  }
}

TEST(IoTest, ReplaceKeepsOldFileOnFailureAndBoundsReads) {
  TemporaryDirectory directory;
  std::string path = directory.path() + "/file";
  ASSERT_TRUE(ReplaceFile(path, "one", 0600, Durability::kPowerCut).ok());
  ASSERT_TRUE(ReplaceFile(path, "two", 0600).ok());
  EXPECT_EQ(*ReadFile(path), "two");
  EXPECT_EQ(ReadFile(path, 2).error().kind(), ErrorKind::kResourceExhausted);
  EXPECT_EQ(ReadFile(directory.path() + "/none").error().kind(), ErrorKind::kNotFound);
  ASSERT_TRUE(MakeDirectories(directory.path() + "/a/b/c", 0700).ok());
  EXPECT_TRUE(PathExists(directory.path() + "/a/b/c"));
  EXPECT_FALSE(MakeDirectories(path + "/x", 0700).ok());
}

TEST(ClockTest, TimesBeyondNanosecondsBecomeTheNearest) {
  EXPECT_EQ(*ParseRfc3339("4052-11-22T05:00:00.123456789Z"), WallTime::max());
  EXPECT_EQ(*ParseRfc3339("0001-01-01T00:00:00Z"), WallTime::min());
  EXPECT_EQ(FormatRfc3339Nano(*ParseRfc3339("2261-12-31T23:59:59.5Z")), "2261-12-31T23:59:59.5Z");
  EXPECT_EQ(FormatRfc3339Nano(*ParseRfc3339("1678-01-01T00:00:00Z")), "1678-01-01T00:00:00Z");
}

TEST(EventLoopTest, WatchesTimersPostsAndStops) {
  auto loop = *EventLoop::Create();
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  UniqueFd reader(fds[0]);
  UniqueFd writer(fds[1]);
  std::string order;
  ASSERT_TRUE(loop->Watch(reader, EPOLLIN,
                          [&](uint32_t) {
                            char c;
                            ASSERT_EQ(::read(reader.get(), &c, 1), 1);
                            order.push_back(c);
                            loop->Unwatch(reader);
                            loop->After(std::chrono::milliseconds(1), [&] {
                              order.push_back('t');
                              loop->Stop();
                            });
                          })
                  .ok());
  auto cancelled = loop->After(std::chrono::milliseconds(0), [&] { order.push_back('!'); });
  loop->CancelTimer(cancelled);
  std::thread other([&] { loop->Post([&] { ASSERT_TRUE(WriteAll(writer, "w").ok()); }); });
  ASSERT_TRUE(loop->Run().ok());
  other.join();
  EXPECT_EQ(order, "wt");
}

TEST(StopTokenTest, EndsAWait) {
  StopSource source = *StopSource::Create();
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  UniqueFd reader(fds[0]);
  UniqueFd writer(fds[1]);
  EXPECT_EQ(WaitFor(reader, 1, std::chrono::milliseconds(1), source.token()).error().kind(),
            ErrorKind::kDeadlineExceeded);
  source.RequestStop();
  EXPECT_TRUE(source.token().stop_requested());
  EXPECT_EQ(WaitFor(reader, 1, std::chrono::seconds(5), source.token()).error().kind(),
            ErrorKind::kCancelled);
}

TEST(RandomTest, HexHasTheAskedLength) {
  EXPECT_EQ(RandomHex(32).size(), 64u);
  EXPECT_NE(RandomHex(16), RandomHex(16));
}

TEST(TextTest, CleanPathIsGosPathClean) {
  const std::pair<const char*, const char*> cases[] = {{"", "."},
                                                       {".", "."},
                                                       {"./", "."},
                                                       {"a/..", "."},
                                                       {"/", "/"},
                                                       {"//", "/"},
                                                       {"/..", "/"},
                                                       {"//a", "/a"},
                                                       {"a//b/", "a/b"},
                                                       {"../a", "../a"},
                                                       {"/a/./b", "/a/b"},
                                                       {"/a/../../b/", "/b"},
                                                       {"a/../../b", "../b"}};
  for (const auto& [path, clean] : cases) EXPECT_EQ(CleanPath(path), clean) << path;
}

TEST(TextTest, SplitKeepsEmptyPartsAndWordsDoNot) {
  EXPECT_EQ(Split("a::b:", ':'), (std::vector<std::string>{"a", "", "b", ""}));
  EXPECT_EQ(Split("", ':'), std::vector<std::string>{""});
  EXPECT_EQ(SplitWords(" a\t b "), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(SplitWords("\n\n", "\n"), std::vector<std::string>{});
  EXPECT_EQ(SplitWords(" 1  2  3 4 ", " ", 3), (std::vector<std::string>{"1", "2", "3 4 "}));
}

}  // namespace
}  // namespace gantry
