// SPDX-License-Identifier: Apache-2.0
#include "wire/http_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>

#include "base/io.h"
#include "wire/http_client.h"

namespace gantry::wire {
namespace {

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-http-XXXXXX";
    directory_ = ::mkdtemp(name);
    parked_ = *LoopThread::Start();
    workers_ = std::make_unique<WorkerPool>(8);
  }
  void TearDown() override {
    if (server_) server_->Stop();
    workers_.reset();
    server_.reset();
    parked_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Serve(HttpServer::Handler handler) {
    server_ = *HttpServer::Create(*workers_, parked_->loop(), std::move(handler));
    ASSERT_TRUE(server_->Listen(url(), "").ok());
  }
  std::string url() const { return "unix://" + directory_ + "/s"; }
  HttpConnection Connect() { return *HttpConnection::Connect(*Endpoint::Parse(url())); }
  UniqueFd ConnectRaw() {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string path = directory_ + "/s";
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return socket;
  }

  std::string directory_;
  std::unique_ptr<LoopThread> parked_;
  std::unique_ptr<WorkerPool> workers_;
  std::shared_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, KeepsAConnectionForSeveralRequests) {
  Serve([](Exchange& exchange) {
    std::string body = *exchange.ReadBody();
    (void)exchange.Respond(200, exchange.path() + ":" + body);
  });
  HttpConnection connection = Connect();
  for (const char* body : {"one", "", "three"}) {
    HttpRequest request;
    request.method = "POST";
    request.target = "/echo";
    request.headers.Set("Host", "x");
    ASSERT_TRUE(connection.Send(request, body).ok());
    EXPECT_EQ(connection.ReceiveHead("POST")->status, 200);
    EXPECT_EQ(*connection.ReadWholeBody(100), std::string("/echo:") + body);
  }
}

// The preface stays where it is for whoever speaks HTTP/2.
TEST_F(HttpServerTest, HandsHttp2OverWithAllItsBytes) {
  std::promise<UniqueFd> taken;
  server_ = *HttpServer::Create(*workers_, parked_->loop(),
                                [](Exchange& exchange) { (void)exchange.Respond(200, "one"); });
  server_->HandHttp2To([&](UniqueFd socket) { taken.set_value(std::move(socket)); });
  ASSERT_TRUE(server_->Listen(url(), "").ok());
  UniqueFd socket = ConnectRaw();
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore";
  ASSERT_TRUE(WriteAll(socket, preface).ok());
  UniqueFd other = taken.get_future().get();
  char buffer[64];
  ssize_t size = ::recv(other.get(), buffer, sizeof buffer, 0);
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(size)), preface);
  // HTTP/1 beside it.
  UniqueFd plain = ConnectRaw();
  ASSERT_TRUE(WriteAll(plain, "GET / HTTP/1.0\r\n\r\n").ok());
  size = ::recv(plain.get(), buffer, 12, MSG_WAITALL);
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(size)), "HTTP/1.1 200");
}

// The answer to a request whose body nobody wanted must not be lost with the connection.
TEST_F(HttpServerTest, AnEarlyAnswerSurvivesABodyThatIsStillSent) {
  Serve([](Exchange& exchange) { (void)exchange.Respond(507, "no space left"); });
  UniqueFd socket = ConnectRaw();
  constexpr size_t kBody = size_t{8} << 20;
  std::string head =
      "POST /load HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(kBody) + "\r\n\r\n";
  ASSERT_TRUE(WriteAll(socket, head).ok());
  ASSERT_TRUE(WriteAll(socket, std::string(kBody, 'x')).ok());
  std::string answer = *ReadToEnd(socket, 1 << 20);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 507 ")) << answer;
  EXPECT_TRUE(answer.ends_with("no space left"));
}

TEST_F(HttpServerTest, ABadRequestIsAnsweredAndTheConnectionClosed) {
  Serve([](Exchange& exchange) { (void)exchange.Respond(200); });
  UniqueFd socket = ConnectRaw();
  ASSERT_TRUE(WriteAll(socket, "nonsense\r\n\r\n").ok());
  std::string answer = *ReadToEnd(socket, 1 << 20);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
}

TEST_F(HttpServerTest, AParkedAnswerIsWrittenLater) {
  std::shared_ptr<ResponseSink> sink;
  Mutex mutex;
  CondVar parked;
  Serve([&](Exchange& exchange) {
    auto taken = *exchange.Park(200);
    MutexLock lock(mutex);
    sink = taken;
    parked.NotifyAll();
  });
  HttpConnection connection = Connect();
  HttpRequest request;
  request.method = "POST";
  request.target = "/wait";
  request.headers.Set("Host", "x");
  ASSERT_TRUE(connection.Send(request).ok());
  EXPECT_EQ(connection.ReceiveHead("POST")->status, 200);
  {
    MutexLock lock(mutex);
    while (!sink) parked.Wait(mutex);
  }
  EXPECT_TRUE(sink->Write("done"));
  sink->Finish();
  EXPECT_EQ(*connection.ReadWholeBody(100), "done");
}

}  // namespace
}  // namespace gantry::wire
