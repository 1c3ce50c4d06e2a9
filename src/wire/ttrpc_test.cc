// SPDX-License-Identifier: Apache-2.0
#include "wire/ttrpc.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "base/io.h"
#include "base/random.h"

namespace gantry::wire {
namespace {

using namespace std::chrono_literals;

TEST(TtrpcFrame, HasTenBytesOfHeader) {
  std::string out;
  AppendTtrpcFrame(&out, 3, TtrpcType::kRequest, kTtrpcRemoteClosed, "ab");
  EXPECT_EQ(out, std::string("\0\0\0\2\0\0\0\3\1\1ab", 12));
}

TEST(TtrpcFrame, ParserTakesAnyPieces) {
  std::string bytes;
  AppendTtrpcFrame(&bytes, 1, TtrpcType::kRequest, 0, "first");
  AppendTtrpcFrame(&bytes, 3, TtrpcType::kResponse, 0, "");
  AppendTtrpcFrame(&bytes, 5, TtrpcType::kData, 4, std::string(100000, 'x'));
  for (size_t piece : {size_t{1}, size_t{7}, size_t{4096}, bytes.size()}) {
    TtrpcParser parser;
    std::vector<TtrpcFrame> frames;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      parser.Feed(std::string_view(bytes).substr(at, piece));
      while (auto frame = parser.Next()) frames.push_back(std::move(*frame));
    }
    ASSERT_EQ(frames.size(), 3u);
    EXPECT_EQ(frames[0].payload, "first");
    EXPECT_EQ(frames[1].stream, 3u);
    EXPECT_EQ(frames[2].payload.size(), 100000u);
    EXPECT_EQ(frames[2].flags, 4);
  }
}

TEST(TtrpcFrame, ParserDropsWhatIsTooLongAndGoesOn) {
  std::string bytes("\x00\x50\x00\x00\x00\x00\x00\x07\x01\x00", 10);
  bytes.append(0x500000, 'x');
  AppendTtrpcFrame(&bytes, 9, TtrpcType::kRequest, 0, "next");
  TtrpcParser parser;
  std::vector<TtrpcFrame> frames;
  for (size_t at = 0; at < bytes.size(); at += 65536) {
    parser.Feed(std::string_view(bytes).substr(at, 65536));
    while (auto frame = parser.Next()) frames.push_back(std::move(*frame));
  }
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_TRUE(frames[0].oversized);
  EXPECT_EQ(frames[0].stream, 7u);
  EXPECT_EQ(frames[1].payload, "next");
}

TEST(TtrpcFrame, ErrorsTravelWithValidUtf8) {
  TtrpcResponse response = TtrpcResponse::From(NotFound("task '\xff\xc0' is \xc3\xa9"));
  EXPECT_EQ(response.message,
            "task '?"
            "?' is \xc3\xa9");
  Result<std::string> back =
      (*formats::ProtoDecode<TtrpcResponse>(formats::ProtoEncode(response))).ToResult();
  ASSERT_FALSE(back.ok());
  EXPECT_EQ(back.error().kind(), ErrorKind::kNotFound);
}

class TtrpcTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = "/tmp/gantry-ttrpc-" + RandomHex(8);
    UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 16), 0);
    loop_ = *EventLoop::Create();
    server_ = *TtrpcServer::Create(loop_.get(), std::move(listener),
                                   [this](TtrpcCall call) { Handle(std::move(call)); });
    thread_ = std::thread([this] { EXPECT_TRUE(loop_->Run().ok()); });
  }
  void TearDown() override {
    loop_->Stop();
    thread_.join();
    ::unlink(path_.c_str());
  }
  void Handle(TtrpcCall call) {
    if (call.method() == "Echo") return call.Reply(call.payload());
    if (call.method() == "Later") {
      loop_->After(20ms, [call] { call.Reply("later " + call.payload()); });
      return;
    }
    if (call.method() == "Never") return kept_.push_back(call);
    if (call.method() == "Drop") return;
    call.Reply(Unimplemented("method '{}'", call.method()));
  }

  std::string path_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<TtrpcServer> server_;
  std::vector<TtrpcCall> kept_;
  std::thread thread_;
};

TEST_F(TtrpcTest, AnswersOutOfOrderFromManyThreads) {
  auto client = TtrpcClient::Connect(loop_.get(), "unix://" + path_, [] {});
  ASSERT_TRUE(client.ok()) << client.error().message();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 50; ++j) {
        std::string payload = std::to_string(i * 1000 + j);
        bool later = (i + j) % 10 == 0;
        auto answer = (*client)->Call("s", later ? "Later" : "Echo", payload, 5s);
        if (answer.ok() && *answer == (later ? "later " + payload : payload)) ++good;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 400);
}

TEST_F(TtrpcTest, CarriesTwoMegabytesBothWays) {
  auto client = TtrpcClient::Connect(loop_.get(), path_, [] {});
  std::string payload(2 << 20, 'p');
  auto answer = (*client)->Call("s", "Echo", payload, 5s);
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_TRUE(*answer == payload);
  EXPECT_EQ((*client)->Call("s", "Echo", std::string(5 << 20, 'p'), 5s).error().kind(),
            ErrorKind::kResourceExhausted);
}

TEST_F(TtrpcTest, ErrorsTimeoutsAndDroppedCallsAreTold) {
  auto client = TtrpcClient::Connect(loop_.get(), path_, [] {});
  EXPECT_EQ((*client)->Call("s", "What", "", 5s).error().kind(), ErrorKind::kUnimplemented);
  EXPECT_EQ((*client)->Call("s", "Drop", "", 5s).error().kind(), ErrorKind::kInternal);
  EXPECT_EQ((*client)->Call("s", "Never", "", 20ms).error().kind(), ErrorKind::kDeadlineExceeded);
  std::atomic<int> late = 0;
  (*client)->CallAsync("s", "Never", "", 20ms, [&](Result<std::string> result) {
    late = static_cast<int>(result.error().kind());
  });
  EXPECT_TRUE((*client)->Call("s", "Later", "", 5s).ok());
  EXPECT_TRUE((*client)->Call("s", "Later", "", 5s).ok());
  EXPECT_EQ(late, static_cast<int>(ErrorKind::kDeadlineExceeded));
}

TEST_F(TtrpcTest, TheEndOfTheServerEndsCallsAndIsTold) {
  std::atomic<bool> closed = false;
  auto client = TtrpcClient::Connect(loop_.get(), path_, [&] { closed = true; });
  std::thread killer([&] {
    std::this_thread::sleep_for(20ms);
    loop_->Post([this] { server_.reset(); });
  });
  Result<std::string> answer = (*client)->Call("s", "Never", "", 0s);
  killer.join();
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().message(), "ttrpc: closed");
  EXPECT_EQ((*client)->Call("s", "Echo", "", 5s).error().kind(), ErrorKind::kUnavailable);
  EXPECT_TRUE(closed);
}

TEST_F(TtrpcTest, ConnectingToNobodyFails) {
  EXPECT_FALSE(TtrpcClient::Connect(loop_.get(), path_ + "-nobody", [] {}).ok());
}

}  // namespace
}  // namespace gantry::wire
