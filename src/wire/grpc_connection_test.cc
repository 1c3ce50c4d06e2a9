// SPDX-License-Identifier: Apache-2.0
//
// Both sides of GrpcConnection on the ends of one socket. That others understand it is shown by
// tests/e2e/test_build_cli.py (gRPC's own library is at the other end there).
#include "wire/grpc_connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/clock.h"

namespace gantry::wire {
namespace {

class GrpcConnectionTest : public testing::Test {
 protected:
  void SetUp() override {
    loop_ = *EventLoop::Create();
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    server_ = *GrpcConnection::Accept(*loop_, UniqueFd(ends[0]), "",
                                      [this](const auto& call) { serve_(call); });
    client_ = *GrpcConnection::Connect(*loop_, UniqueFd(ends[1]), "");
  }
  void RunUntil(const std::function<bool()>& done) {
    auto end = SteadyClock::now() + std::chrono::seconds(30);
    while (SteadyClock::now() < end && !done()) {
      ASSERT_TRUE(loop_->RunOnce(std::chrono::milliseconds(1000)).ok());
    }
    ASSERT_TRUE(done());
  }

  std::unique_ptr<EventLoop> loop_;
  std::function<void(const std::shared_ptr<GrpcCall>& call)> serve_;
  std::unique_ptr<GrpcConnection> server_, client_;
};

TEST_F(GrpcConnectionTest, OneMessageEachWay) {
  serve_ = [](const std::shared_ptr<GrpcCall>& call) {
    EXPECT_EQ(call->method(), "/a.B/C");
    auto* at = call.get();
    call->on_message = [at](std::string_view message) {
      at->Send(std::string(message) + " heard");
      at->Finish({});
    };
  };
  std::optional<Result<std::string>> answer;
  client_->CallOnce("/a.B/C", "said", [&](Result<std::string> one) { answer = std::move(one); });
  RunUntil([&] { return answer.has_value(); });
  EXPECT_EQ(answer->value(), "said heard");
}

TEST_F(GrpcConnectionTest, ErrorsHaveKindAndText) {
  serve_ = [](const std::shared_ptr<GrpcCall>& call) {
    call->Finish(NotFound("no 100 % ünïcode\nhere"));
  };
  std::optional<Result<std::string>> answer;
  client_->CallOnce("/a.B/C", "", [&](Result<std::string> one) { answer = std::move(one); });
  RunUntil([&] { return answer.has_value(); });
  EXPECT_EQ(answer->error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(answer->error().message(), "no 100 % ünïcode\nhere");
}

TEST_F(GrpcConnectionTest, MetadataOfSeveralValues) {
  std::vector<std::string> values;
  serve_ = [&](const std::shared_ptr<GrpcCall>& call) {
    values = call->Values("which");
    EXPECT_EQ(call->Value("none"), "");
    call->Finish({});
  };
  std::optional<Result<>> ended;
  auto call = client_->Call("/a.B/C", {{"which", "one"}, {"which", "two"}});
  call->on_end = [&](const Result<>& status) { ended = status; };
  call->EndSends();
  RunUntil([&] { return ended.has_value(); });
  EXPECT_TRUE(ended->ok());
  EXPECT_EQ(values, (std::vector<std::string>{"one", "two"}));
}

// More than the windows of HTTP/2 and the socket take at once, made as it is wanted.
TEST_F(GrpcConnectionTest, SendsAsMuchAsTheReceiverTakes) {
  constexpr int kMessages = 400;
  const std::string piece(100'000, 'x');
  size_t most_waiting = 0;
  serve_ = [&](const std::shared_ptr<GrpcCall>& call) {
    auto left = std::make_shared<int>(kMessages);
    auto* at = call.get();
    call->on_writable = [&, at, left] {
      if (*left == 0) return;
      at->Send(piece);
      most_waiting = std::max(most_waiting, at->unsent());
      if (--*left == 0) at->Finish({});
    };
  };
  int64_t received = 0;
  std::optional<Result<>> ended;
  auto call = client_->Call("/a.B/C", {});
  call->on_message = [&](std::string_view message) {
    received += static_cast<int64_t>(message.size());
  };
  call->on_end = [&](const Result<>& status) { ended = status; };
  call->EndSends();
  RunUntil([&] { return ended.has_value(); });
  EXPECT_TRUE(ended->ok());
  EXPECT_EQ(received, int64_t{kMessages} * 100'000);
  EXPECT_LT(most_waiting, size_t{1} << 20);
}

TEST_F(GrpcConnectionTest, CancelAndHangUp) {
  std::shared_ptr<GrpcCall> served;
  std::optional<Result<>> told_server;
  serve_ = [&](const std::shared_ptr<GrpcCall>& call) {
    served = call;
    call->on_end = [&](const Result<>& status) { told_server = status; };
  };
  std::optional<Result<>> first, second;
  auto one = client_->Call("/a.B/C", {});
  one->on_end = [&](const Result<>& status) { first = status; };
  one->Send("x");
  RunUntil([&] { return served != nullptr; });
  one->Cancel();
  RunUntil([&] { return first.has_value() && told_server.has_value(); });
  EXPECT_EQ(first->error().kind(), ErrorKind::kCancelled);
  EXPECT_EQ(told_server->error().kind(), ErrorKind::kCancelled);

  auto two = client_->Call("/a.B/C", {});
  two->on_end = [&](const Result<>& status) { second = status; };
  two->Send("x");
  server_.reset();
  RunUntil([&] { return second.has_value(); });
  EXPECT_EQ(second->error().kind(), ErrorKind::kUnavailable);
  std::optional<Result<std::string>> late;
  client_->CallOnce("/a.B/C", "", [&](Result<std::string> answer) { late = std::move(answer); });
  RunUntil([&] { return late.has_value(); });
  EXPECT_FALSE(late->ok());
}

TEST_F(GrpcConnectionTest, WhatIsNoHttp2EndsTheConnection) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  auto lone = GrpcConnection::Connect(*loop_, UniqueFd(ends[0]), "");
  ASSERT_TRUE(lone.ok());
  UniqueFd other(ends[1]);
  std::optional<Result<std::string>> answer;
  (*lone)->CallOnce("/a.B/C", "", [&](Result<std::string> one) { answer = std::move(one); });
  ASSERT_EQ(::send(other.get(), "HTTP/1.1 400 Bad Request\r\n\r\n", 28, 0), 28);
  RunUntil([&] { return answer.has_value(); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->ok());
}

}  // namespace
}  // namespace gantry::wire
