// SPDX-License-Identifier: Apache-2.0
#include "wire/http_client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "base/io.h"

namespace gantry::wire {
namespace {

// A connection to a peer that the test plays on `server`.
struct Pair {
  Pair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
    client = HttpConnection(UniqueFd(fds[0]));
    server = UniqueFd(fds[1]);
  }
  HttpConnection client{UniqueFd()};
  UniqueFd server;
};

HttpRequest Get(std::string_view target) {
  HttpRequest request;
  request.method = "GET";
  request.target = target;
  request.headers.Add("Host", "x");
  return request;
}

TEST(HttpClient, PipelinedAnswersAndReuse) {
  Pair pair;
  ASSERT_TRUE(pair.client.Send(Get("/a")).ok());
  ASSERT_TRUE(pair.client.Send(Get("/b")).ok());
  ASSERT_TRUE(WriteAll(pair.server,
                       "HTTP/1.1 100 Continue\r\n\r\n"
                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
                       "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\ntwo")
                  .ok());
  EXPECT_EQ(pair.client.ReceiveHead()->status, 200);
  EXPECT_FALSE(pair.client.Reusable());
  EXPECT_EQ(*pair.client.ReadWholeBody(100), "one");
  EXPECT_EQ(pair.client.ReceiveHead()->status, 404);
  EXPECT_EQ(*pair.client.ReadWholeBody(100), "two");
  EXPECT_TRUE(pair.client.Reusable());
  pair.server.Reset();
  EXPECT_FALSE(pair.client.Reusable());
}

TEST(HttpClient, EarlyEndIsAnError) {
  Pair pair;
  ASSERT_TRUE(WriteAll(pair.server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").ok());
  pair.server.Reset();
  ASSERT_TRUE(pair.client.ReceiveHead().ok());
  EXPECT_EQ(*pair.client.ReadBody(), "ab");
  EXPECT_EQ(pair.client.ReadBody().error().kind(), ErrorKind::kUnavailable);
}

TEST(HttpClient, UntilCloseAndBound) {
  Pair pair;
  ASSERT_TRUE(WriteAll(pair.server, "HTTP/1.1 200 OK\r\n\r\nabcdef").ok());
  pair.server.Reset();
  ASSERT_TRUE(pair.client.ReceiveHead().ok());
  EXPECT_EQ(pair.client.ReadWholeBody(5).error().kind(), ErrorKind::kResourceExhausted);
}

TEST(HttpClient, HijackKeepsWhatCameWithTheHead) {
  Pair pair;
  ASSERT_TRUE(WriteAll(pair.server, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nfirst").ok());
  EXPECT_EQ(pair.client.ReceiveHead("POST")->status, 101);
  HttpConnection::Raw raw = std::move(pair.client).Hijack();
  EXPECT_EQ(raw.received, "first");
  EXPECT_TRUE(raw.socket.valid());
}

TEST(HttpClient, UploadWhileTheServerAnswers) {
  Pair pair;
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  UniqueFd source(fds[0]);
  UniqueFd feeder(fds[1]);
  constexpr size_t kSize = 3 << 20;
  std::thread feed([&] {
    (void)WriteAll(feeder, std::string(kSize, 'f'));
    feeder.Reset();
  });
  // Answers a byte for each piece received, so a client that never read would block it at last.
  std::thread serve([&] {
    (void)WriteAll(pair.server, "HTTP/1.1 200 OK\r\n\r\n");
    std::string tail;
    char buffer[4096];
    while (tail.find(kLastChunk) == std::string::npos) {
      size_t got = *ReadSome(pair.server, buffer, sizeof buffer);
      tail = tail.substr(tail.size() > 8 ? tail.size() - 8 : 0).append(buffer, got);
      (void)WriteAll(pair.server, std::string(1024, 'a'));
    }
    pair.server.Reset();
  });
  HttpRequest request = Get("/load");
  request.method = "POST";
  ASSERT_TRUE(pair.client.SendFrom(request, source).ok());
  ASSERT_TRUE(pair.client.ReceiveHead("POST").ok());
  Result<std::string> body = pair.client.ReadWholeBody(64 << 20);
  ASSERT_TRUE(body.ok());
  EXPECT_GE(body->size(), kSize / 4096 * 1024 / 2);
  feed.join();
  serve.join();
}

TEST(HttpClient, Endpoints) {
  EXPECT_EQ(Endpoint::Parse("unix:///run/x")->address, "/run/x");
  EXPECT_EQ(Endpoint::Parse("tcp://h")->address, "h:2375");
  EXPECT_EQ(Endpoint::Parse("http://[::1]:80/base/")->address, "[::1]:80");
  EXPECT_EQ(Endpoint::Parse("http://[::1]:80/base/")->base_path, "/base");
  EXPECT_FALSE(Endpoint::Parse("h:80").ok());
  EXPECT_FALSE(Endpoint::Parse("unix://").ok());
  EXPECT_FALSE(Endpoint::Parse("npipe://x").ok());
  EXPECT_FALSE(HttpConnection::Connect(*Endpoint::Parse("unix:///nonexistent")).ok());
}

}  // namespace
}  // namespace gantry::wire
