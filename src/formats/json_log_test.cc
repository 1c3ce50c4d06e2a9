// SPDX-License-Identifier: Apache-2.0
#include "formats/json_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "base/io.h"
#include "base/random.h"
#include "formats/json.h"

namespace gantry::formats {
namespace {

constexpr size_t kNoLimit = size_t{1} << 30;
const WallTime kTime = FromUnixNanos(1'795'323'600'123'456'789);

std::string Encode(std::initializer_list<std::string_view> pieces) {
  JsonLogEncoder encoder(LogStream::kStdout);
  std::string out;
  for (std::string_view piece : pieces) {
    EXPECT_TRUE(encoder.Append(piece, kTime, kNoLimit, &out).empty());
  }
  encoder.Finish(kTime, &out);
  return out;
}

std::vector<std::string> Texts(std::string_view encoded) {
  std::vector<std::string> texts;
  while (!encoded.empty()) {
    size_t newline = encoded.find('\n');
    LogRecord record;
    Result<> parsed = ParseLogLine(encoded.substr(0, newline), &record);
    EXPECT_TRUE(parsed.ok()) << parsed.error().message();
    texts.push_back(record.text);
    encoded.remove_prefix(newline + 1);
  }
  return texts;
}

using Strings = std::vector<std::string>;

TEST(JsonLog, WritesDockersForm) {
  EXPECT_EQ(Encode({"hi \"you\"\n"}),
            "{\"log\":\"hi \\\"you\\\"\\n\",\"stream\":\"stdout\","
            "\"time\":\"2026-11-22T05:00:00.123456789Z\"}\n");
}

TEST(JsonLog, JoinsPiecesToLinesAndCutsLongOnes) {
  EXPECT_EQ(Texts(Encode({"a", "b\nc", "", "d"})), (Strings{"ab\n", "cd"}));
  std::string line(40000, 'x');
  for (size_t piece : {size_t{1000}, size_t{16384}, size_t{40000}}) {
    JsonLogEncoder encoder(LogStream::kStderr);
    std::string out;
    for (size_t at = 0; at < line.size(); at += piece) {
      encoder.Append(std::string_view(line).substr(at, piece), kTime, kNoLimit, &out);
    }
    encoder.Append("\n", kTime, kNoLimit, &out);
    EXPECT_EQ(Texts(out), (Strings{line.substr(0, 16384), line.substr(0, 16384),
                                   line.substr(0, 40000 - 32768) + "\n"}));
  }
}

TEST(JsonLog, KeepsEveryByteOfValidUtf8AndEveryControl) {
  std::string text = "é\u2028\U0001F600\x01\x1f\t\r\b\f\\/<>&\x7f";
  text.push_back('\0');
  EXPECT_EQ(Texts(Encode({text})), (Strings{text}));
  for (size_t cut = 1; cut < text.size(); ++cut) {
    EXPECT_EQ(Texts(Encode({text.substr(0, cut), text.substr(cut)})), (Strings{text}));
  }
  // A character across the border of two records is not torn.
  std::string line = std::string(16383, 'x') + "é\n";
  EXPECT_EQ(Texts(Encode({line})), (Strings{std::string(16383, 'x'), "é\n"}));
  EXPECT_EQ(Texts(Encode({"\xff\xc3"})), (Strings{"\ufffd\ufffd"}));
}

TEST(JsonLog, EscapesAsTheJsonLibraryDoes) {
  for (int byte = 0; byte < 0x80; ++byte) {
    for (int at = 0; at < 17; ++at) {
      std::string text(17, 'a');
      text[static_cast<size_t>(at)] = static_cast<char>(byte);
      if (byte == '\n') continue;
      std::string encoded = Encode({text});
      Result<Json> json = Json::Parse(encoded.substr(0, encoded.size() - 1));
      ASSERT_TRUE(json.ok()) << encoded;
      EXPECT_EQ((*json)["log"].AsString(), text);
    }
  }
}

TEST(JsonLog, StopsAtTheSoftLimit) {
  JsonLogEncoder encoder(LogStream::kStdout);
  std::string out;
  std::string text(1000, '\n');
  std::string_view rest = encoder.Append(text, kTime, 500, &out);
  EXPECT_FALSE(rest.empty());
  EXPECT_LT(out.size(), 700u);
}

TEST(JsonLog, ParsesForeignOrdersAndRefusesRubbish) {
  LogRecord record;
  ASSERT_TRUE(ParseLogLine("{\"time\":\"2020-01-02T03:04:05Z\", \"attrs\":{\"a\":\"b\"},"
                           "\"stream\":\"stderr\",\"log\":\"\\u00e9\\b\"}",
                           &record)
                  .ok());
  EXPECT_EQ(record.text, "é\b");
  EXPECT_EQ(record.stream, LogStream::kStderr);
  EXPECT_FALSE(ParseLogLine("{\"log\":\"a", &record).ok());
  EXPECT_FALSE(ParseLogLine("", &record).ok());
  EXPECT_FALSE(ParseLogLine("{\"log\":\"a\",\"stream\":\"stdout\",\"time\":\"x\"}", &record).ok());
}

class JsonLogReaderTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (int i = 0; i < 6; ++i) {
      ::unlink((i == 0 ? path_ : path_ + "." + std::to_string(i)).c_str());
    }
  }
  void Write(const std::string& path, int from, int to) {
    std::FILE* file = std::fopen(path.c_str(), "ae");
    for (int i = from; i < to; ++i) std::fputs(Encode({std::to_string(i) + "\n"}).c_str(), file);
    std::fclose(file);
  }
  std::string Read(JsonLogReader& reader) {
    std::string all;
    LogRecord record;
    for (;;) {
      Result<bool> next = reader.Next(&record);
      EXPECT_TRUE(next.ok());
      if (!next.ok() || !*next) return all;
      all += record.text.substr(0, record.text.size() - 1) + " ";
    }
  }
  std::string Tail(int64_t tail) {
    auto reader = JsonLogReader::Open(path_, tail);
    EXPECT_TRUE(reader.ok());
    return Read(*reader);
  }
  std::string path_ = "/tmp/gantry-json-log-" + RandomHex(8);
};

TEST_F(JsonLogReaderTest, ReadsFilesOldestFirstAndTails) {
  EXPECT_EQ(Tail(-1), "");
  EXPECT_EQ(Tail(3), "");
  Write(path_ + ".2", 0, 2);
  Write(path_ + ".1", 2, 4);
  Write(path_, 4, 6);
  EXPECT_EQ(Tail(-1), "0 1 2 3 4 5 ");
  EXPECT_EQ(Tail(0), "");
  EXPECT_EQ(Tail(1), "5 ");
  EXPECT_EQ(Tail(2), "4 5 ");
  EXPECT_EQ(Tail(3), "3 4 5 ");
  EXPECT_EQ(Tail(5), "1 2 3 4 5 ");
  EXPECT_EQ(Tail(6), "0 1 2 3 4 5 ");
  EXPECT_EQ(Tail(600), "0 1 2 3 4 5 ");
}

TEST_F(JsonLogReaderTest, TailsAcrossBlocks) {
  Write(path_, 0, 5000);
  std::string all = Tail(3000);
  EXPECT_TRUE(all.starts_with("2000 2001 "));
  EXPECT_TRUE(all.ends_with("4998 4999 "));
}

TEST_F(JsonLogReaderTest, FollowsThroughRotations) {
  auto reader = JsonLogReader::Open(path_, 0);
  ASSERT_TRUE(reader.ok());
  Write(path_, 0, 2);
  EXPECT_EQ(Read(*reader), "0 1 ");
  Write(path_, 2, 3);
  ::rename(path_.c_str(), (path_ + ".1").c_str());
  Write(path_, 3, 4);
  EXPECT_EQ(Read(*reader), "2 3 ");
  ::rename((path_ + ".1").c_str(), (path_ + ".2").c_str());
  ::rename(path_.c_str(), (path_ + ".1").c_str());
  Write(path_, 4, 5);
  EXPECT_EQ(Read(*reader), "4 ");
  EXPECT_EQ(Read(*reader), "");
}

TEST_F(JsonLogReaderTest, BeginsAnewWithAFileThatWasCutOff) {
  Write(path_, 0, 5);
  auto reader = JsonLogReader::Open(path_, -1);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(Read(*reader), "0 1 2 3 4 ");
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  EXPECT_EQ(Read(*reader), "");
  Write(path_, 5, 7);
  EXPECT_EQ(Read(*reader), "5 6 ");
  // Cut off in the middle of a line that was read in part.
  std::string whole = Encode({"whole\n"});
  std::FILE* file = std::fopen(path_.c_str(), "ae");
  std::fputs(whole.substr(0, 20).c_str(), file);
  std::fclose(file);
  EXPECT_EQ(Read(*reader), "");
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  Write(path_, 7, 8);
  EXPECT_EQ(Read(*reader), "7 ");
  EXPECT_EQ(reader->skipped(), 1u);
}

TEST_F(JsonLogReaderTest, WaitsForTheEndOfALineAndSkipsTornOnes) {
  std::string whole = Encode({"whole\n"});
  ASSERT_TRUE(CreateFile(path_, "{\"log\":\"to\n" + whole.substr(0, 20), 0600).ok());
  auto reader = JsonLogReader::Open(path_, -1);
  EXPECT_EQ(Read(*reader), "");
  std::FILE* file = std::fopen(path_.c_str(), "ae");
  std::fputs(whole.substr(20).c_str(), file);
  std::fclose(file);
  EXPECT_EQ(Read(*reader), "whole ");
  EXPECT_EQ(reader->skipped(), 1u);
}

}  // namespace
}  // namespace gantry::formats
