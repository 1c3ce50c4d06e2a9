// SPDX-License-Identifier: Apache-2.0
//
// The proxy in a thread of this program, spoken to over its control socket; real sockets on
// loopback.
#include "portproxy/port_table.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
// After netinet/in.h: both define the same structures otherwise.
#include <linux/sctp.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/io.h"
#include "base/random.h"
#include "kernel/sctp.h"
#include "portproxy/control_server.h"

namespace gantry::portproxy {
namespace {

using formats::ProxyListener;
using formats::ProxyOperation;
using formats::ProxyReply;
using formats::ProxyRequest;

constexpr const char* kLoopback = "127.0.0.1";

UniqueFd Connected(Transport transport, const std::string& address, uint16_t port) {
  SocketAddress to = *SocketAddress::Of(address, port);
  UniqueFd fd = *OpenSocket(transport, to.storage.ss_family);
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
  timeval timeout{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (::connect(fd.get(), to.get(), to.size) < 0) return UniqueFd();
  return fd;
}

// A listening or bound socket of the "container", blocking with a bound.
UniqueFd Target(Transport transport, uint16_t* port) {
  UniqueFd fd = *BindSocket(transport, *SocketAddress::Of(kLoopback, 0));
  int flags = ::fcntl(fd.get(), F_GETFL);
  ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK);
  timeval timeout{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  *port = *BoundPort(fd);
  return fd;
}

UniqueFd Accepted(const UniqueFd& listener) {
  return UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

std::string Receive(const UniqueFd& fd, size_t size) {
  std::string text(size, '\0');
  ssize_t got = ::recv(fd.get(), text.data(), size, MSG_WAITALL);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

class PortTableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-portproxy-XXXXXX";
    directory_ = ::mkdtemp(name);
    loop_ = *EventLoop::Create();
    thread_ = std::thread([this] {
      PortTable ports(loop_.get());
      ResolverTable resolvers(loop_.get());
      auto server = *ControlServer::Create(loop_.get(), *ListenOnControlSocket(SocketPath()),
                                           &ports, &resolvers);
      started_ = true;
      EXPECT_TRUE(loop_->Run().ok());
    });
    while (!started_) std::this_thread::yield();
    control_ = ConnectControl();
  }
  void TearDown() override {
    Ask({ProxyOperation::kStop, "", {}});
    thread_.join();
    std::filesystem::remove_all(directory_);
  }

  std::string SocketPath() const { return directory_ + "/proxy.sock"; }

  UniqueFd ConnectControl() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, SocketPath().c_str());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return fd;
  }

  ProxyReply ReadReply(const UniqueFd& fd) {
    size_t size = *formats::ProxyMessageSize(Receive(fd, 4));
    return *formats::DecodeProxyReply(Receive(fd, size));
  }
  ProxyReply Ask(const ProxyRequest& request) {
    CHECK(WriteAll(control_, formats::EncodeProxyRequest(request)).ok());
    return ReadReply(control_);
  }
  // One owner with one port on both loopback addresses.
  uint16_t Publish(const std::string& owner, const std::string& protocol, uint16_t target) {
    ProxyReply reply = Ask({ProxyOperation::kSet, owner, {Spec(protocol, 0, target)}});
    EXPECT_FALSE(reply.failure) << reply.failure->message;
    return reply.ports.at(0);
  }
  static ProxyListener Spec(const std::string& protocol, uint16_t port, uint16_t target) {
    return {protocol, {kLoopback, "::1"}, port, port, kLoopback, target};
  }

  std::string directory_;
  std::unique_ptr<EventLoop> loop_;
  std::atomic<bool> started_ = false;
  std::thread thread_;
  UniqueFd control_;
};

TEST_F(PortTableTest, RelaysBothFamiliesAndHalfCloses) {
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kTcp, &target_port);
  uint16_t port = Publish("a", "tcp", target_port);
  for (const char* address : {kLoopback, "::1"}) {
    UniqueFd client = Connected(Transport::kTcp, address, port);
    UniqueFd server = Accepted(target);
    ASSERT_TRUE(WriteAll(client, "question").ok());
    ::shutdown(client.get(), SHUT_WR);
    EXPECT_EQ(*ReadToEnd(server, 100), "question");
    ASSERT_TRUE(WriteAll(server, "answer").ok());
    server.Reset();
    EXPECT_EQ(*ReadToEnd(client, 100), "answer");
  }
  // The other end first.
  UniqueFd client = Connected(Transport::kTcp, kLoopback, port);
  UniqueFd server = Accepted(target);
  ::shutdown(server.get(), SHUT_WR);
  EXPECT_EQ(Receive(client, 1), "");
  ASSERT_TRUE(WriteAll(client, "still").ok());
  EXPECT_EQ(Receive(server, 5), "still");
}

TEST_F(PortTableTest, BytesArriveWholeAndASlowReaderHoldsTheWriterBack) {
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kTcp, &target_port);
  uint16_t port = Publish("a", "tcp", target_port);
  UniqueFd client = Connected(Transport::kTcp, kLoopback, port);
  UniqueFd server = Accepted(target);
  std::string data(size_t{32} << 20, '\0');
  FillRandom(data.data(), data.size());
  // Nobody reads: the writer stalls long before all of it is on its way.
  size_t sent = 0;
  for (int stalls = 0; stalls < 3 && sent < data.size();) {
    ssize_t count =
        ::send(client.get(), data.data() + sent, data.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
      sent += static_cast<size_t>(count);
      continue;
    }
    ++stalls;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_LT(sent, data.size());
  std::thread writer([&] {
    EXPECT_TRUE(WriteAll(client, std::string_view(data).substr(sent)).ok());
    ::shutdown(client.get(), SHUT_WR);
  });
  auto received = ReadToEnd(server, data.size() + 1);
  writer.join();
  ASSERT_TRUE(received.ok()) << received.error().message();
  EXPECT_TRUE(*received == data);
}

TEST_F(PortTableTest, AClosedTargetResetsAndAnAbandonedConnectionEnds) {
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kTcp, &target_port);
  uint16_t port = Publish("a", "tcp", target_port);
  {
    UniqueFd client = Connected(Transport::kTcp, kLoopback, port);
    UniqueFd server = Accepted(target);
    client.Reset();
    EXPECT_EQ(Receive(server, 1), "");
  }
  target.Reset();
  UniqueFd client = Connected(Transport::kTcp, kLoopback, port);
  char byte;
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(PortTableTest, RemovingAnOwnerClosesItsPortsAndConnections) {
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kTcp, &target_port);
  uint16_t port = Publish("a", "tcp", target_port);
  uint16_t other = Publish("b", "tcp", target_port);
  UniqueFd client = Connected(Transport::kTcp, kLoopback, port);
  UniqueFd server = Accepted(target);
  Ask({ProxyOperation::kSet, "a", {}});
  EXPECT_EQ(Receive(client, 1), "");
  EXPECT_FALSE(Connected(Transport::kTcp, kLoopback, port).valid());
  EXPECT_TRUE(Connected(Transport::kTcp, kLoopback, other).valid());
  ProxyReply listed = Ask({ProxyOperation::kList, "", {}});
  ASSERT_EQ(listed.owners.size(), 1u);
  EXPECT_EQ(listed.owners[0].owner, "b");
  EXPECT_EQ(listed.owners[0].listeners[0], Spec("tcp", other, target_port));
}

TEST_F(PortTableTest, UdpSessionsKeepClientsApart) {
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kUdp, &target_port);
  uint16_t port = Publish("a", "udp", target_port);
  std::vector<UniqueFd> clients;
  for (const char* address : {kLoopback, kLoopback, "::1"}) {
    clients.push_back(Connected(Transport::kUdp, address, port));
  }
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < clients.size(); ++i) {
      std::string text = fmt::format("{}-{}", i, round);
      ASSERT_TRUE(WriteAll(clients[i], text).ok());
      char buffer[16];
      sockaddr_in peer{};
      socklen_t size = sizeof peer;
      ssize_t got = ::recvfrom(target.get(), buffer, sizeof buffer, 0,
                               reinterpret_cast<sockaddr*>(&peer), &size);
      ASSERT_EQ(std::string(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0))), text);
      ASSERT_EQ(::sendto(target.get(), buffer, 3, 0, reinterpret_cast<sockaddr*>(&peer), size), 3);
      EXPECT_EQ(Receive(clients[i], 3), text);
    }
  }
}

TEST_F(PortTableTest, AChangeHappensAsAWholeOrNotAtAll) {
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kTcp, &target_port);
  uint16_t taken = Publish("a", "tcp", target_port);
  uint16_t mine = Publish("b", "tcp", target_port);
  UniqueFd client = Connected(Transport::kTcp, kLoopback, mine);
  UniqueFd server = Accepted(target);

  ProxyReply refused = Ask({ProxyOperation::kSet,
                            "b",
                            {Spec("tcp", mine, target_port), Spec("tcp", 0, target_port),
                             Spec("tcp", taken, target_port)}});
  ASSERT_TRUE(refused.failure);
  EXPECT_EQ(refused.failure->listener, 2u);
  EXPECT_EQ(refused.failure->holder, "a");
  EXPECT_EQ(refused.failure->port, taken);
  EXPECT_EQ(refused.failure->error_number, EADDRINUSE);
  EXPECT_EQ(Ask({ProxyOperation::kList, "", {}}).owners[1].listeners.size(), 1u);

  // What stays is not touched: its connection lives.
  ProxyReply changed = Ask(
      {ProxyOperation::kSet, "b", {Spec("tcp", 0, target_port), Spec("tcp", mine, target_port)}});
  ASSERT_FALSE(changed.failure);
  EXPECT_EQ(changed.ports[1], mine);
  ASSERT_TRUE(WriteAll(client, "alive").ok());
  EXPECT_EQ(Receive(server, 5), "alive");

  ProxyListener bad = Spec("tcp", 0, target_port);
  bad.addresses = {"not an address"};
  EXPECT_TRUE(Ask({ProxyOperation::kSet, "c", {bad}}).failure);
}

// With sctp in the kernel these are sockets, without it the table's own matter.
TEST_F(PortTableTest, SctpPortsAreHad) {
  ProxyReply a = Ask({ProxyOperation::kSet, "a", {Spec("sctp", 0, 80), Spec("sctp", 0, 81)}});
  ASSERT_FALSE(a.failure) << a.failure->message;
  EXPECT_NE(a.ports.at(0), a.ports.at(1));
  uint16_t taken = a.ports.at(0);

  ProxyListener here = Spec("sctp", taken, 80);
  here.addresses = {kLoopback};
  ProxyReply refused = Ask({ProxyOperation::kSet, "b", {Spec("sctp", 0, 80), here}});
  ASSERT_TRUE(refused.failure);
  EXPECT_EQ(refused.failure->listener, 1u);
  EXPECT_EQ(refused.failure->holder, "a");
  EXPECT_EQ(refused.failure->port, taken);
  EXPECT_EQ(refused.failure->error_number, EADDRINUSE);
  // Another address, and another protocol, are other ports.
  here.addresses = {"127.0.0.2"};
  EXPECT_FALSE(Ask({ProxyOperation::kSet, "b", {here, Spec("tcp", taken, 80)}}).failure);

  // Of a range the next one; one that goes is free again.
  here.addresses = {kLoopback};
  here.last_port = static_cast<uint16_t>(taken + 20);
  ProxyReply next = Ask({ProxyOperation::kSet, "c", {here}});
  ASSERT_FALSE(next.failure) << next.failure->message;
  EXPECT_GT(next.ports.at(0), taken);
  EXPECT_FALSE(Ask({ProxyOperation::kSet, "a", {}}).failure);
  here.last_port = taken;
  EXPECT_EQ(Ask({ProxyOperation::kSet, "d", {here}}).ports.at(0), taken);
}

// A container's and a client's end of an association, messages between them.
TEST_F(PortTableTest, SctpKeepsMessagesAndStreams) {
  if (!kernel::HasSctp()) GTEST_SKIP() << "this kernel has no sctp";
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kSctp, &target_port);
  uint16_t port = Publish("a", "sctp", target_port);
  UniqueFd client = Connected(Transport::kSctp, kLoopback, port);
  ASSERT_TRUE(client.valid());
  UniqueFd server = Accepted(target);
  int one = 1;
  ASSERT_EQ(::setsockopt(server.get(), IPPROTO_SCTP, SCTP_RECVRCVINFO, &one, sizeof one), 0);
  auto say = [&](const UniqueFd& fd, std::string text, uint16_t stream, uint32_t ppid) {
    sctp_sndinfo info{};
    info.snd_sid = stream;
    info.snd_ppid = htonl(ppid);
    iovec part{text.data(), text.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof info)]{};
    msghdr header{nullptr, 0, &part, 1, control, sizeof control, 0};
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    *item = {CMSG_LEN(sizeof info), IPPROTO_SCTP, SCTP_SNDINFO};
    std::memcpy(CMSG_DATA(item), &info, sizeof info);
    ASSERT_EQ(::sendmsg(fd.get(), &header, 0), static_cast<ssize_t>(text.size()));
  };
  std::string buffer(size_t{1} << 17, '\0');
  for (size_t length : {1u, 100u, 20'000u, 60'000u}) {
    say(client, std::string(length, 'm'), 3, 46);
    std::string got;
    sctp_rcvinfo info{};
    for (bool ended = false; !ended;) {
      iovec part{buffer.data(), buffer.size()};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof info)]{};
      msghdr header{nullptr, 0, &part, 1, control, sizeof control, 0};
      ssize_t size = ::recvmsg(server.get(), &header, 0);
      ASSERT_GT(size, 0);
      got.append(buffer.data(), static_cast<size_t>(size));
      ASSERT_NE(CMSG_FIRSTHDR(&header), nullptr);
      std::memcpy(&info, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof info);
      ended = (header.msg_flags & MSG_EOR) != 0;
    }
    EXPECT_EQ(got, std::string(length, 'm'));
    EXPECT_EQ(info.rcv_sid, 3);
    EXPECT_EQ(ntohl(info.rcv_ppid), 46u);
  }
  say(server, "answer", 0, 0);
  EXPECT_EQ(::recv(client.get(), buffer.data(), buffer.size(), 0), 6);
  // The end of one is the other's.
  server.Reset();
  EXPECT_LE(::recv(client.get(), buffer.data(), buffer.size(), 0), 0);
}

TEST_F(PortTableTest, ControlMessagesInPiecesAndBadOnes) {
  std::string two = formats::EncodeProxyRequest({ProxyOperation::kList, "", {}}) +
                    formats::EncodeProxyRequest({ProxyOperation::kList, "", {}});
  UniqueFd client = ConnectControl();
  for (size_t i = 0; i < two.size(); ++i) ASSERT_TRUE(WriteAll(client, two.substr(i, 1)).ok());
  EXPECT_TRUE(ReadReply(client).owners.empty());
  EXPECT_TRUE(ReadReply(client).owners.empty());
  // Nonsense ends the connection, and nothing else.
  for (std::string bad : {std::string("\xff\xff\xff\xff", 4), std::string("\0\0\0\2{}", 6)}) {
    UniqueFd broken = ConnectControl();
    ASSERT_TRUE(WriteAll(broken, bad).ok());
    EXPECT_EQ(Receive(broken, 1), "");
  }
  EXPECT_TRUE(Ask({ProxyOperation::kList, "", {}}).owners.empty());
}

// Not a test: prints bytes a second through the proxy and straight.
TEST_F(PortTableTest, DISABLED_Measure) {
  uint16_t target_port = 0;
  UniqueFd target = Target(Transport::kTcp, &target_port);
  uint16_t port = Publish("a", "tcp", target_port);
  constexpr size_t kTotal = size_t{4} << 30;
  auto rate = [&](uint16_t to) {
    UniqueFd client = Connected(Transport::kTcp, kLoopback, to);
    UniqueFd server = Accepted(target);
    auto begin = SteadyClock::now();
    std::thread writer([&] {
      std::string block(size_t{256} << 10, 'x');
      for (size_t sent = 0; sent < kTotal; sent += block.size()) {
        CHECK(WriteAll(client, block).ok());
      }
      client.Reset();
    });
    std::string buffer(size_t{256} << 10, '\0');
    while (::recv(server.get(), buffer.data(), buffer.size(), 0) > 0) {
    }
    writer.join();
    double seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
    return static_cast<double>(kTotal) / 1e9 / seconds;
  };
  auto requests = [&](uint16_t to) {
    UniqueFd client = Connected(Transport::kTcp, kLoopback, to);
    UniqueFd server = Accepted(target);
    constexpr int kCount = 20'000;
    std::thread echo([&] {
      char byte;
      while (::recv(server.get(), &byte, 1, 0) == 1) (void)::send(server.get(), &byte, 1, 0);
    });
    auto begin = SteadyClock::now();
    for (int i = 0; i < kCount; ++i) {
      CHECK(WriteAll(client, "x").ok());
      CHECK(Receive(client, 1) == "x");
    }
    double seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
    client.Reset();
    echo.join();
    return kCount / seconds;
  };
  for (int round = 0; round < 3; ++round) {
    double straight = rate(target_port);
    double proxied = rate(port);
    fmt::print("loopback {:.2f} GB/s, proxy {:.2f} GB/s ({:.0f} %); ", straight, proxied,
               100 * proxied / straight);
    fmt::print("{:.0f} and {:.0f} round trips a second\n", requests(target_port), requests(port));
  }
}

}  // namespace
}  // namespace gantry::portproxy
