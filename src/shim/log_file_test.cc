// SPDX-License-Identifier: Apache-2.0
#include "shim/log_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/random.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;
using formats::JsonLogReader;
using formats::LogRecord;
using formats::LogStream;

class LogFileTest : public ::testing::Test {
 protected:
  void SetUp() override { loop_ = *EventLoop::Create(); }
  void TearDown() override {
    for (const char* end : {"", ".1", ".2", ".3"}) ::unlink((path_ + end).c_str());
  }
  std::vector<std::string> Read() {
    auto reader = JsonLogReader::Open(path_, -1);
    std::vector<std::string> texts;
    LogRecord record;
    while (*reader->Next(&record)) texts.push_back(record.text);
    return texts;
  }
  std::unique_ptr<EventLoop> loop_;
  std::string path_ = "/tmp/gantry-log-file-" + RandomHex(8);
};

TEST_F(LogFileTest, RotatesAtRecordsAndKeepsSoManyFiles) {
  auto log = *LogFile::Open(loop_.get(), path_, 1000, 3);
  std::string text;
  for (int i = 0; i < 100; ++i) text += std::to_string(i) + "\n";
  log->Append(LogStream::kStdout, text, {});
  for (const char* end : {"", ".1", ".2"}) {
    struct stat info{};
    ASSERT_EQ(::stat((path_ + end).c_str(), &info), 0);
    EXPECT_LE(info.st_size, 1000);
    EXPECT_GT(info.st_size, 0);
  }
  EXPECT_FALSE(PathExists(path_ + ".3"));
  std::vector<std::string> kept = Read();
  EXPECT_EQ(kept.back(), "99\n");
  EXPECT_EQ(kept.size(), 100 - static_cast<size_t>(std::stoi(kept.front())));
}

TEST_F(LogFileTest, AFailingDiskCostsACountedGapOnly) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto log = *LogFile::Open(loop_.get(), path_, -1, 1);
  log->Append(LogStream::kStdout, "before\n", {});
  rlimit tight{10000, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  std::string line(1000, 'x');
  line.back() = '\n';
  for (int i = 0; i < 3000; ++i) log->Append(LogStream::kStdout, line, {});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  auto deadline = SteadyClock::now() + 2s;
  std::vector<std::string> texts;
  while (SteadyClock::now() < deadline && (texts.empty() || !texts.back().starts_with("gantry:"))) {
    ASSERT_TRUE(loop_->RunOnce(50ms).ok());
    texts = Read();
  }
  ASSERT_GT(texts.size(), 900u);
  EXPECT_EQ(texts[0], "before\n");
  size_t lost = 3000 - (texts.size() - 2);
  EXPECT_EQ(texts.back(),
            fmt::format("gantry: {} bytes of output are missing here: the log could not be "
                        "written\n",
                        lost * 1000));
  log->Append(LogStream::kStdout, "after\n", {});
  EXPECT_EQ(Read().back(), "after\n");
}

}  // namespace
}  // namespace gantry::shim
