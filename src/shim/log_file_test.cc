// SPDX-License-Identifier: Apache-2.0
#include "shim/log_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

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
    for (const char* end : {"", ".1", ".2", ".3", ".1.gz", ".2.gz", ".3.gz"}) {
      ::unlink((path_ + end).c_str());
    }
  }
  static Result<std::unique_ptr<ByteSource>> Unpack(BorrowedFd file) {
    struct Source : ByteSource {
      explicit Source(BorrowedFd file) : gz(::gzdopen(::dup(file.get()), "r")) {}
      ~Source() override { ::gzclose(gz); }
      Result<std::string_view> Next() override {
        int got = ::gzread(gz, text, sizeof text);
        EXPECT_GE(got, 0);
        return std::string_view(text, static_cast<size_t>(std::max(got, 0)));
      }
      gzFile gz;
      char text[100];
    };
    return std::unique_ptr<ByteSource>(std::make_unique<Source>(file));
  }
  std::vector<std::string> Read(int64_t tail = -1) {
    auto reader = JsonLogReader::Open(path_, tail, Unpack);
    return ReadOn(*reader);
  }
  std::vector<std::string> ReadOn(JsonLogReader& reader) {
    std::vector<std::string> texts;
    LogRecord record;
    while (*reader.Next(&record)) texts.push_back(record.text);
    return texts;
  }
  std::unique_ptr<EventLoop> loop_;
  std::string path_ = "/tmp/gantry-log-file-" + RandomHex(8);
};

TEST_F(LogFileTest, RotatesAtRecordsAndKeepsSoManyFiles) {
  auto log = *LogFile::Open(loop_.get(), {.path = path_, .max_size = 1000, .max_files = 3});
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

TEST_F(LogFileTest, AFileThatWasCutOffIsNotRotatedEarly) {
  auto log = *LogFile::Open(loop_.get(), {.path = path_, .max_size = 1000, .max_files = 3});
  log->Append(LogStream::kStdout, std::string(800, 'x') + "\n", {});
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  log->Append(LogStream::kStdout, std::string(800, 'y') + "\n", {});
  EXPECT_FALSE(PathExists(path_ + ".1"));
  EXPECT_EQ(Read(), std::vector<std::string>{std::string(800, 'y') + "\n"});
}

TEST_F(LogFileTest, CompressesWhatIsRotated) {
  LogFileOptions options{.path = path_, .max_size = 1000, .max_files = 4, .compress = true};
  auto follower = *JsonLogReader::Open(path_, 0, Unpack);
  auto log = *LogFile::Open(loop_.get(), options);
  std::vector<std::string> written;
  std::vector<std::string> followed;
  auto write = [&](int count) {
    for (int i = 0; i < count; ++i) {
      written.push_back(std::to_string(written.size()) + "\n");
      log->Append(LogStream::kStdout, written.back(), {});
    }
  };
  write(5);
  followed = ReadOn(follower);
  // A follower stands in the middle of a file that is rotated and compressed away.
  write(20);
  auto deadline = SteadyClock::now() + 5s;
  while (SteadyClock::now() < deadline && PathExists(path_ + ".1")) {
    ASSERT_TRUE(loop_->RunOnce(50ms).ok());
  }
  ASSERT_TRUE(PathExists(path_ + ".1.gz"));
  for (const std::string& text : ReadOn(follower)) followed.push_back(text);
  EXPECT_EQ(followed, written);
  write(200);  // many rotations while one file is compressed
  log.reset();
  for (const char* end : {".1", ".2", ".3"}) {
    EXPECT_FALSE(PathExists(path_ + end)) << end;
    EXPECT_TRUE(PathExists(path_ + end + ".gz")) << end;
  }
  EXPECT_FALSE(PathExists(path_ + ".4.gz"));
  EXPECT_FALSE(PathExists(path_ + ".gz.new"));
  std::vector<std::string> kept = Read();
  size_t first = written.size() - kept.size();
  EXPECT_GT(kept.size(), 30u);
  EXPECT_EQ(kept,
            std::vector<std::string>(written.begin() + static_cast<long>(first), written.end()));
  for (size_t tail = 1; tail <= kept.size(); ++tail) {
    EXPECT_EQ(Read(static_cast<int64_t>(tail)),
              std::vector<std::string>(kept.end() - static_cast<long>(tail), kept.end()));
  }
  EXPECT_EQ(Read(1000), kept);
  // What a kill left plain, and half a file of it.
  ASSERT_EQ(::rename(path_.c_str(), (path_ + ".1").c_str()), 0);
  ASSERT_TRUE(CreateFile(path_ + ".gz.new", "half", 0600).ok());
  log = *LogFile::Open(loop_.get(), options);
  log.reset();
  EXPECT_FALSE(PathExists(path_ + ".1"));
  EXPECT_TRUE(PathExists(path_ + ".1.gz"));
  EXPECT_FALSE(PathExists(path_ + ".gz.new"));
}

TEST_F(LogFileTest, RecordsHaveTheAttributes) {
  auto log =
      *LogFile::Open(loop_.get(), {.path = path_, .attributes = "{\"a\":\"\\\"time\\\":\"}"});
  log->Append(LogStream::kStderr, "x\n", {});
  EXPECT_EQ(*ReadFile(path_),
            "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"\\\"time\\\":\"},"
            "\"time\":\"1970-01-01T00:00:00.000000000Z\"}\n");
  EXPECT_EQ(Read(), std::vector<std::string>{"x\n"});
}

TEST_F(LogFileTest, AFailingDiskCostsACountedGapOnly) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto log = *LogFile::Open(loop_.get(), {.path = path_});
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
