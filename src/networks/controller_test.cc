// SPDX-License-Identifier: Apache-2.0
//
// Packets judge: every case sends real ones between real namespaces. The whole test runs in a
// network and mount namespace of its own, which stands for the host; "other host" is one more
// namespace with a wire to it. Needs root; skipped with a reason otherwise.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "base/io.h"
#include "kernel/net_namespace.h"
#include "kernel/rtnetlink.h"
#include "networks/networks.h"
#include "networks/packets_for_tests.h"
#include "networks/proxy_client.h"

namespace gantry::networks {
namespace {

constexpr const char* kHostAddress = "198.51.100.1";
constexpr const char* kOtherHost = "198.51.100.2";
constexpr const char* kBridge = "gtest0";

std::string ProxyBinary() {
  std::error_code ignored;
  auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return (self.parent_path().parent_path() / "bin/gantry-proxy").string();
}

std::string ContainerId(int number) { return fmt::format("{:064x}", number); }

class ControllerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() != 0 || !PathExists(ProxyBinary())) return;
    // This process is the host from here on. Every thread that comes later is inside too.
    CHECK(::unshare(CLONE_NEWNET | CLONE_NEWNS) == 0);
    CHECK(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    ready_ = true;
  }

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: network namespaces and nftables";
    if (!ready_) GTEST_SKIP() << "needs gantry-proxy beside it: " << ProxyBinary();
    char name[] = "/tmp/gantry-networks-XXXXXX";
    run_ = ::mkdtemp(name);
    route_ = *kernel::NetlinkSocket::Open(NETLINK_ROUTE);
    kernel::NetlinkBatch batch;
    kernel::AppendLinkUp(&batch, 1);
    ASSERT_TRUE(route_.Transact(&batch).ok());
    other_ = *kernel::MakeNetNamespace();
    AddOtherHost();
    store_ = MakeMemoryRecordStore();
    StartController();
  }

  void AddOtherHost() {
    kernel::VethSpec wire;
    wire.name = "wire0";
    wire.peer = "eth0";
    wire.peer_netns = other_.fd;
    wire.peer_mac = {2, 0, 0, 0, 0, 2};
    kernel::NetlinkBatch create;
    kernel::AppendCreateVeth(&create, wire);
    auto created = route_.Transact(&create);
    ASSERT_TRUE(created.ok()) << created.error().message();
    kernel::NetlinkBatch here;
    kernel::AppendAddAddress(&here, *kernel::LinkIndex(route_, "wire0"), Address(kHostAddress), 24);
    kernel::AppendDefaultRoute(&here, Address(kOtherHost));
    ASSERT_TRUE(route_.Transact(&here).ok());
    kernel::NetlinkBatch there;
    int inside = *kernel::LinkIndex(other_.route, "eth0");
    kernel::AppendLinkUp(&there, inside);
    kernel::AppendAddAddress(&there, inside, Address(kOtherHost), 24);
    // So it can try to reach containers directly.
    kernel::AppendDefaultRoute(&there, Address(kHostAddress));
    ASSERT_TRUE(other_.route.Transact(&there).ok());
  }

  void StartController() {
    Options options;
    options.bridge = kBridge;
    options.run_directory = run_;
    options.proxy_binary = ProxyBinary();
    options.records = store_.get();
    auto controller = Controller::Create(options);
    ASSERT_TRUE(controller.ok()) << controller.error().message();
    controller_ = std::move(controller).value();
    auto network = controller_->EnsureDefaultBridge();
    ASSERT_TRUE(network.ok()) << network.error().message();
    network_ = *network;
  }

  void TearDown() override {
    if (controller_ == nullptr || network_.id.empty()) return;
    for (const Endpoint& endpoint : controller_->ListEndpoints()) {
      auto detached = controller_->Detach(endpoint.container_id);
      EXPECT_TRUE(detached.ok()) << detached.error().message();
    }
    ExpectNothingLeft();
    auto removed = controller_->RemoveEverything();
    EXPECT_TRUE(removed.ok()) << removed.error().message();
    controller_.reset();
    WaitUntil([&] { return !PathExists(run_ + "/proxy.sock"); }, "the proxy's end");
    kernel::NetlinkBatch batch;
    kernel::AppendDeleteLink(&batch, *kernel::LinkIndex(route_, "wire0"));
    EXPECT_TRUE(route_.Transact(&batch).ok());
    std::filesystem::remove_all(run_);
  }

  static void WaitUntil(const std::function<bool()>& done, const std::string& what) {
    auto end = SteadyClock::now() + std::chrono::seconds(60);
    while (!done()) {
      ASSERT_LT(SteadyClock::now(), end) << "waiting for " << what;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  // `nft` is the judge here, not our own reading of it.
  std::string NftTable() {
    std::string output;
    FILE* pipe = ::popen(fmt::format("nft list table ip gantry-{} 2>&1", kBridge).c_str(), "r");
    char buffer[4096];
    while (size_t size = ::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, size);
    ::pclose(pipe);
    return output;
  }

  size_t CountVeths() {
    size_t count = 0;
    std::vector<kernel::Link> links = *kernel::ListLinks(&route_);
    for (const kernel::Link& link : links) {
      if (link.kind == "veth" && link.name != "wire0") ++count;
    }
    return count;
  }

  void ExpectNothingLeft() {
    EXPECT_TRUE(store_->ListEndpoints()->empty());
    EXPECT_TRUE(std::filesystem::is_empty(run_ + "/netns"));
    WaitUntil([&] { return CountVeths() == 0; }, "the interfaces' end");
    ProxyClient proxy(run_, "");
    if (proxy.IsRunning()) {
      auto listed = proxy.Call({formats::ProxyOperation::kList, "", {}});
      ASSERT_TRUE(listed.ok()) << listed.error().message();
      EXPECT_TRUE(listed->owners.empty());
    }
    std::string rules = NftTable();
    // No element of a map leads into the subnet.
    std::string first_octet = fmt::format(" : {}.", network_.subnet.network.value >> 24);
    EXPECT_EQ(rules.find(first_octet), std::string::npos) << rules;
  }

  Endpoint AttachOne(int number, std::vector<PortRequest> ports = {}) {
    AttachRequest request;
    request.container_id = ContainerId(number);
    request.ports = std::move(ports);
    auto endpoint = controller_->Attach(request);
    EXPECT_TRUE(endpoint.ok()) << endpoint.error().message();
    return endpoint.ok() ? *endpoint : Endpoint{};
  }
  UniqueFd NamespaceOf(const Endpoint& endpoint) {
    return *kernel::OpenNetNamespaceEntry(endpoint.netns_path);
  }
  // 0 while a proxy that starts has not yet said it.
  pid_t ProxyPid() { return std::atoi(ReadFile(run_ + "/gantry-proxy.pid")->c_str()); }

  static bool ready_;
  std::string run_;
  kernel::NetlinkSocket route_;
  kernel::NetNamespace other_;
  std::unique_ptr<RecordStore> store_;
  std::unique_ptr<Controller> controller_;
  Network network_;
};

bool ControllerTest::ready_ = false;

TEST_F(ControllerTest, OutgoingPacketsAreMasqueraded) {
  Endpoint a = AttachOne(1);
  EXPECT_EQ(a.address.value, network_.gateway.value + 1);
  EXPECT_EQ(a.mac, formats::MacAddress::Of(a.address));
  UniqueFd inside = NamespaceOf(a);
  UniqueFd tcp = Serve(other_.fd, SOCK_STREAM, 9000);
  UniqueFd udp = Serve(other_.fd, SOCK_DGRAM, 9000);
  EXPECT_EQ(TcpPing(inside, kOtherHost, 9000, tcp), kHostAddress);
  EXPECT_EQ(UdpPing(inside, kOtherHost, 9000, udp), kHostAddress);
  // The host itself is reached with the container's own address.
  UniqueFd host = Serve(BorrowedFd(), SOCK_STREAM, 9001);
  EXPECT_EQ(TcpPing(inside, network_.gateway.ToString(), 9001, host), a.address.ToString());
}

TEST_F(ControllerTest, PublishedPortsAreReachedFromEverywhere) {
  Endpoint a = AttachOne(1, {{"", 8080, 0, 80, Protocol::kTcp}, {"", 8080, 0, 80, Protocol::kUdp}});
  Endpoint b = AttachOne(2);
  UniqueFd inside = NamespaceOf(a);
  UniqueFd neighbour = NamespaceOf(b);
  UniqueFd tcp = Serve(inside, SOCK_STREAM, 80);
  UniqueFd udp = Serve(inside, SOCK_DGRAM, 80);
  std::string gateway = network_.gateway.ToString();
  // Another host: its own address is seen.
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 8080, tcp), kOtherHost);
  EXPECT_EQ(UdpPing(other_.fd, kHostAddress, 8080, udp), kOtherHost);
  // The host: loopback of both families through the proxy, its own address by nft.
  EXPECT_EQ(TcpPing(BorrowedFd(), "127.0.0.1", 8080, tcp), gateway);
  EXPECT_EQ(UdpPing(BorrowedFd(), "127.0.0.1", 8080, udp), gateway);
  EXPECT_EQ(TcpPing(BorrowedFd(), "::1", 8080, tcp), gateway);
  EXPECT_EQ(UdpPing(BorrowedFd(), "::1", 8080, udp), gateway);
  EXPECT_EQ(TcpPing(BorrowedFd(), kHostAddress, 8080, tcp), kHostAddress);
  EXPECT_EQ(UdpPing(BorrowedFd(), kHostAddress, 8080, udp), kHostAddress);
  // A neighbour: directly, through the gateway's and through the host's other address.
  EXPECT_EQ(TcpPing(neighbour, a.address.ToString(), 80, tcp), b.address.ToString());
  EXPECT_EQ(UdpPing(neighbour, a.address.ToString(), 80, udp), b.address.ToString());
  EXPECT_EQ(TcpPing(neighbour, gateway, 8080, tcp), gateway);
  EXPECT_EQ(UdpPing(neighbour, gateway, 8080, udp), gateway);
  EXPECT_EQ(TcpPing(neighbour, kHostAddress, 8080, tcp), gateway);
  // Itself through its own published port.
  EXPECT_EQ(TcpPing(inside, kHostAddress, 8080, tcp), gateway);
}

TEST_F(ControllerTest, WhatIsNotPublishedIsNotReached) {
  Endpoint a = AttachOne(1, {{"127.0.0.1", 8081, 0, 81, Protocol::kTcp},
                             {kHostAddress, 8082, 0, 82, Protocol::kTcp},
                             {"", 8083, 0, 83, Protocol::kTcp}});
  UniqueFd inside = NamespaceOf(a);
  UniqueFd s80 = Serve(inside, SOCK_STREAM, 80);
  UniqueFd s81 = Serve(inside, SOCK_STREAM, 81);
  UniqueFd s82 = Serve(inside, SOCK_STREAM, 82);
  UniqueFd s83 = Serve(inside, SOCK_STREAM, 83);
  UniqueFd udp = Serve(inside, SOCK_DGRAM, 80);
  constexpr int kShort = 200;
  // Straight to the container, published or not.
  EXPECT_EQ(TcpPing(other_.fd, a.address.ToString(), 80, s80, kShort), "");
  EXPECT_EQ(TcpPing(other_.fd, a.address.ToString(), 83, s83, kShort), "");
  EXPECT_EQ(UdpPing(other_.fd, a.address.ToString(), 80, udp, kShort), "");
  // Published on loopback alone, and on one address alone.
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 8081, s81, kShort), "");
  EXPECT_EQ(TcpPing(BorrowedFd(), "127.0.0.1", 8081, s81), network_.gateway.ToString());
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 8082, s82), kOtherHost);
  EXPECT_EQ(TcpPing(BorrowedFd(), "127.0.0.1", 8082, s82, kShort), "");
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 8083, s83), kOtherHost);
}

TEST_F(ControllerTest, PortsAreGivenAndRefused) {
  Endpoint a = AttachOne(1, {{"", 0, 0, 80, Protocol::kTcp}, {"", 9000, 9003, 81, Protocol::kTcp}});
  ASSERT_EQ(a.ports.size(), 4u);
  EXPECT_EQ(a.ports[0].host_ip, "0.0.0.0");
  EXPECT_EQ(a.ports[1].host_ip, "::");
  EXPECT_NE(a.ports[0].host_port, 0);
  EXPECT_EQ(a.ports[0].host_port, a.ports[1].host_port);
  EXPECT_EQ(a.ports[2].host_port, 9000);
  Endpoint b = AttachOne(2, {{"", 9000, 9003, 81, Protocol::kTcp}});
  EXPECT_EQ(b.ports[0].host_port, 9001);

  AttachRequest request;
  request.container_id = ContainerId(3);
  request.ports = {{"", 7000, 0, 80, Protocol::kTcp}, {"", 9001, 0, 80, Protocol::kTcp}};
  auto refused = controller_->Attach(request);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::kAlreadyExists);
  EXPECT_TRUE(refused.error().message().ends_with(
      fmt::format(": Bind for 0.0.0.0:9001 failed: port is already allocated (container {} has it)",
                  b.container_id.substr(0, 12))))
      << refused.error().message();
  EXPECT_TRUE(controller_->EndpointsOf(request.container_id).empty());
  // Nothing was kept: 7000 is free.
  AttachOne(4, {{"", 7000, 0, 80, Protocol::kTcp}});

  UniqueFd foreign = Serve(BorrowedFd(), SOCK_STREAM, 7777);
  request.ports = {{"", 7777, 0, 80, Protocol::kTcp}};
  refused = controller_->Attach(request);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(
      refused.error().message().find(
          ": Error starting userland proxy: listen tcp4 0.0.0.0:7777: bind: address already in "
          "use (process "),
      std::string::npos)
      << refused.error().message();

  request.ports = {};
  request.address = a.address;
  refused = controller_->Attach(request);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::kPermissionDenied);
  request.address = *formats::Ipv4Address::Parse("10.9.8.7");
  EXPECT_EQ(controller_->Attach(request).error().kind(), ErrorKind::kInvalidArgument);
  request.network = "nowhere";
  EXPECT_EQ(controller_->Attach(request).error().message(), "network nowhere not found");
}

TEST_F(ControllerTest, AttachesToANamespaceThatExists) {
  kernel::NetNamespace made = *kernel::MakeNetNamespace();
  AttachRequest request;
  request.container_id = ContainerId(1);
  request.ports = {{"", 8080, 0, 80, Protocol::kTcp}};
  request.mac = *formats::MacAddress::Parse("02:00:00:00:00:99");
  auto endpoint = controller_->AttachToExisting(request, made.fd);
  ASSERT_TRUE(endpoint.ok()) << endpoint.error().message();
  EXPECT_EQ(*kernel::NetNamespaceInode(made.fd),
            *kernel::NetNamespaceInode(NamespaceOf(*endpoint)));
  UniqueFd tcp = Serve(made.fd, SOCK_STREAM, 80);
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 8080, tcp), kOtherHost);
  EXPECT_EQ(controller_->AttachToExisting(request, made.fd).error().kind(),
            ErrorKind::kPermissionDenied);
  // The namespace lives on in our hands: the interface is deleted all the same.
  ASSERT_TRUE(controller_->Detach(request.container_id).ok());
  WaitUntil([&] { return CountVeths() == 0; }, "the interface's end");
}

TEST_F(ControllerTest, ARestartAdoptsWhatFits) {
  Endpoint a = AttachOne(1, {{"", 8080, 0, 80, Protocol::kTcp}});
  UniqueFd inside = NamespaceOf(a);
  UniqueFd tcp = Serve(inside, SOCK_STREAM, 80);
  std::string before = NftTable();
  pid_t proxy = ProxyPid();
  controller_.reset();
  // No daemon: everything goes on.
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 8080, tcp), kOtherHost);
  EXPECT_EQ(TcpPing(BorrowedFd(), "127.0.0.1", 8080, tcp), network_.gateway.ToString());
  StartController();
  auto report = controller_->Reconcile();
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_TRUE(report->lost.empty());
  EXPECT_TRUE(report->changes.empty()) << report->changes.front();
  EXPECT_EQ(NftTable(), before);
  EXPECT_EQ(ProxyPid(), proxy);
  ASSERT_EQ(controller_->ListEndpoints().size(), 1u);
  // Its address is not given to the next one.
  EXPECT_NE(AttachOne(2).address, a.address);
}

TEST_F(ControllerTest, ReconcileRepairsAndRemoves) {
  Endpoint a = AttachOne(1, {{"", 8080, 0, 80, Protocol::kTcp}});
  Endpoint b = AttachOne(2, {{"", 8082, 0, 80, Protocol::kTcp}});
  Endpoint gone = AttachOne(3);
  controller_.reset();
  // b's record is lost; a loses its interface, its rules and the proxy; gone loses its namespace.
  ASSERT_TRUE(store_->EraseEndpoint(b.container_id, b.network_id).ok());
  kernel::NetlinkBatch batch;
  kernel::AppendDeleteLink(&batch, *kernel::LinkIndex(route_, a.host_link));
  ASSERT_TRUE(route_.Transact(&batch).ok());
  std::string flush = fmt::format(
      "nft flush map ip gantry-{0} ports && nft flush chain ip gantry-{0} forward", kBridge);
  ASSERT_EQ(std::system(flush.c_str()), 0);
  ASSERT_TRUE(kernel::UnbindNetNamespace(gone.netns_path).ok());
  pid_t proxy = ProxyPid();
  ASSERT_EQ(::kill(proxy, SIGKILL), 0);
  WaitUntil([&] { return !PathExists(fmt::format("/proc/{}/fd/0", proxy)); }, "the proxy's end");

  StartController();
  auto report = controller_->Reconcile();
  ASSERT_TRUE(report.ok()) << report.error().message();
  ASSERT_EQ(report->lost.size(), 1u);
  EXPECT_EQ(report->lost[0].container_id, gone.container_id);
  EXPECT_FALSE(report->changes.empty());
  EXPECT_FALSE(PathExists(b.netns_path));
  WaitUntil([&] { return CountVeths() == 1; }, "the strangers' end");
  UniqueFd inside = NamespaceOf(a);
  UniqueFd tcp = Serve(inside, SOCK_STREAM, 80);
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 8080, tcp), kOtherHost);
  EXPECT_EQ(TcpPing(BorrowedFd(), "127.0.0.1", 8080, tcp), network_.gateway.ToString());
  EXPECT_EQ(TcpPing(other_.fd, a.address.ToString(), 80, tcp, 200), "");
  auto again = controller_->Reconcile();
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_TRUE(again->changes.empty()) << again->changes.front();
}

TEST_F(ControllerTest, AProxyThatIsKilledComesBack) {
  Endpoint a = AttachOne(1, {{"", 8080, 0, 80, Protocol::kTcp}});
  UniqueFd inside = NamespaceOf(a);
  UniqueFd tcp = Serve(inside, SOCK_STREAM, 80);
  ASSERT_EQ(::kill(ProxyPid(), SIGKILL), 0);
  WaitUntil([&] { return !TcpPing(BorrowedFd(), "127.0.0.1", 8080, tcp, 100).empty(); },
            "the published port");
}

// What the proxy publishes is what the records say, whoever was attached or detached while a new
// proxy was told of all ports.
TEST_F(ControllerTest, AProxyThatIsKilledMeanwhilePublishesWhatIsAttached) {
  Endpoint steady = AttachOne(999, {{"", 6999, 0, 80, Protocol::kTcp}});
  std::atomic<bool> over = false;
  auto come_and_go = [&](int number) {
    AttachRequest request;
    request.container_id = ContainerId(number);
    request.ports = {{"", static_cast<uint16_t>(7000 + number), 0, 80, Protocol::kTcp}};
    while (!over) {
      auto attached = controller_->Attach(request);
      // A proxy that is killed twice while it is asked is not waited for.
      EXPECT_TRUE(attached.ok() || attached.error().kind() == ErrorKind::kUnavailable);
      auto detached = controller_->Detach(request.container_id);
      EXPECT_TRUE(detached.ok()) << detached.error().message();
    }
  };
  std::vector<std::thread> threads;
  for (int number = 1; number <= 3; ++number) threads.emplace_back(come_and_go, number);
  ProxyClient proxy(run_, "");
  for (int round = 0; round < 60; ++round) {
    pid_t killed = ProxyPid();
    ASSERT_GT(killed, 0);
    ASSERT_EQ(::kill(killed, SIGKILL), 0);
    WaitUntil(
        [&] {
          pid_t next = ProxyPid();
          return next > 0 && next != killed && proxy.IsRunning();
        },
        "the next proxy");
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  WaitUntil(
      [&] {
        auto listed = proxy.Call({formats::ProxyOperation::kList, "", {}});
        return listed.ok() && listed->owners.size() == 1 && listed->owners[0].owner == steady.id;
      },
      "one owner, the one that is still attached");
}

TEST_F(ControllerTest, FurtherNetworksAreApart) {
  NetworkRequest wanted;
  wanted.name = "front";
  auto front = controller_->CreateNetwork(wanted);
  ASSERT_TRUE(front.ok()) << front.error().message();
  EXPECT_FALSE(front->subnet.Overlaps(network_.subnet));
  EXPECT_EQ(controller_->CreateNetwork(wanted).error().kind(), ErrorKind::kAlreadyExists);
  wanted.name = "back";
  wanted.subnet = front->subnet;
  EXPECT_EQ(controller_->CreateNetwork(wanted).error().kind(), ErrorKind::kPermissionDenied);
  wanted.subnet = *formats::Ipv4Prefix::Parse("10.77.0.0/24");
  wanted.internal = true;
  auto back = controller_->CreateNetwork(wanted);
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(controller_->RemoveNetwork("bridge").error().kind(), ErrorKind::kPermissionDenied);

  Endpoint a = AttachOne(1, {{"", 8080, 0, 80, Protocol::kTcp}});
  AttachRequest request;
  request.container_id = ContainerId(2);
  request.network = "front";
  Endpoint b = *controller_->Attach(request);
  request.container_id = ContainerId(3);
  request.network = "back";
  Endpoint c = *controller_->Attach(request);
  UniqueFd in_a = NamespaceOf(a);
  UniqueFd in_b = NamespaceOf(b);
  UniqueFd in_c = NamespaceOf(c);
  UniqueFd outside = Serve(other_.fd, SOCK_STREAM, 9000);
  UniqueFd tcp_a = Serve(in_a, SOCK_STREAM, 80);
  UniqueFd tcp_c = Serve(in_c, SOCK_STREAM, 80);
  constexpr int kShort = 200;
  EXPECT_EQ(TcpPing(in_b, kOtherHost, 9000, outside), kHostAddress);
  EXPECT_EQ(TcpPing(in_c, kOtherHost, 9000, outside, kShort), "");
  EXPECT_EQ(TcpPing(in_b, a.address.ToString(), 80, tcp_a, kShort), "");
  EXPECT_EQ(TcpPing(in_b, c.address.ToString(), 80, tcp_c, kShort), "");
  // What is published is published for everybody.
  EXPECT_EQ(TcpPing(in_b, kHostAddress, 8080, tcp_a), network_.gateway.ToString());

  // b joins c's network and leaves it again.
  request.container_id = ContainerId(2);
  request.interface = "eth1";
  auto joined = controller_->AttachToExisting(request, in_b);
  ASSERT_TRUE(joined.ok()) << joined.error().message();
  EXPECT_EQ(TcpPing(in_b, c.address.ToString(), 80, tcp_c), joined->address.ToString());
  EXPECT_EQ(TcpPing(in_b, kOtherHost, 9000, outside), kHostAddress);
  EXPECT_EQ(controller_->RemoveNetwork("back").error().kind(), ErrorKind::kPermissionDenied);
  ASSERT_TRUE(controller_->Disconnect(ContainerId(2), "back").ok());
  EXPECT_EQ(controller_->Disconnect(ContainerId(2), "back").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(TcpPing(in_b, c.address.ToString(), 80, tcp_c, kShort), "");

  // A restart knows them all.
  controller_.reset();
  StartController();
  auto report = controller_->Reconcile();
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_TRUE(report->changes.empty()) << report->changes.front();
  EXPECT_EQ(controller_->ListNetworks().size(), 3u);
  ASSERT_TRUE(controller_->Detach(ContainerId(3)).ok());
  ASSERT_TRUE(controller_->RemoveNetwork("back").ok());
  EXPECT_EQ(controller_->InspectNetwork("back").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(kernel::LinkIndex(route_, back->bridge).error().kind(), ErrorKind::kNotFound);
  // The subnets of front and of the default bridge touch: one's end leaves the other's alone.
  ASSERT_EQ(front->subnet.network.value, network_.subnet.Last().value + 1);
  ASSERT_TRUE(controller_->Detach(ContainerId(2)).ok());
  ASSERT_TRUE(controller_->RemoveNetwork("front").ok());
  EXPECT_EQ(TcpPing(in_a, kOtherHost, 9000, outside), kHostAddress);
}

TEST_F(ControllerTest, AUdpFlowFindsTheNextContainer) {
  std::vector<PortRequest> ports{{"", 8080, 0, 80, Protocol::kUdp}};
  Where to = Where::Of(kHostAddress, 8080);
  UniqueFd client = SocketIn(other_.fd, AF_INET, SOCK_DGRAM, 100);
  ASSERT_EQ(::connect(client.get(), to.get(), to.size), 0);
  char buffer[8];
  {
    UniqueFd inside = NamespaceOf(AttachOne(1, ports));
    UniqueFd udp = Serve(inside, SOCK_DGRAM, 80);
    ASSERT_EQ(::send(client.get(), "one", 3, 0), 3);
    ASSERT_EQ(::recv(udp.get(), buffer, sizeof buffer, 0), 3);
  }
  ASSERT_TRUE(controller_->Detach(ContainerId(1)).ok());
  UniqueFd inside = NamespaceOf(AttachOne(2, ports));
  UniqueFd udp = Serve(inside, SOCK_DGRAM, 80);
  // The client never pauses long enough for the kernel to forget it by itself.
  WaitUntil(
      [&] {
        (void)::send(client.get(), "two", 3, 0);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return ::recv(udp.get(), buffer, sizeof buffer, MSG_DONTWAIT) == 3;
      },
      "the flow");
}

TEST_F(ControllerTest, NeighboursTalkThoughBridgedPacketsAreFiltered) {
  const char* setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  if (!PathExists(setting)) GTEST_SKIP() << "this kernel has no br_netfilter";
  ASSERT_TRUE(WriteFile(setting, "1").ok());
  Endpoint a = AttachOne(1);
  Endpoint b = AttachOne(2);
  UniqueFd inside = NamespaceOf(a);
  UniqueFd tcp = Serve(inside, SOCK_STREAM, 80);
  EXPECT_EQ(TcpPing(NamespaceOf(b), a.address.ToString(), 80, tcp), b.address.ToString());
}

// Records in files, so that they outlive a process that is killed.
class FileRecordStore : public RecordStore {
 public:
  explicit FileRecordStore(std::string directory) : directory_(std::move(directory)) {
    CHECK(MakeDirectories(directory_, 0700).ok());
  }
  Result<> PutEndpoint(const Endpoint& endpoint) override {
    return ReplaceFile(directory_ + "/e-" + endpoint.container_id, EncodeEndpoint(endpoint), 0600);
  }
  Result<> EraseEndpoint(const std::string& container_id, const std::string&) override {
    return Erase("e-" + container_id);
  }
  Result<std::vector<Endpoint>> ListEndpoints() override { return List("e-", DecodeEndpoint); }
  Result<> PutNetwork(const Network& network) override {
    return ReplaceFile(directory_ + "/n-" + network.id, EncodeNetwork(network), 0600);
  }
  Result<> EraseNetwork(const std::string& network_id) override { return Erase("n-" + network_id); }
  Result<std::vector<Network>> ListNetworks() override { return List("n-", DecodeNetwork); }

 private:
  Result<> Erase(const std::string& name) {
    std::filesystem::remove(directory_ + "/" + name);
    return {};
  }
  template <typename T>
  Result<std::vector<T>> List(const std::string& prefix, Result<T> (*decode)(std::string_view)) {
    std::vector<T> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      std::string name = entry.path().filename().string();
      if (!name.starts_with(prefix) || name.find(".tmp-") != std::string::npos) continue;
      found.push_back(TRY(decode(TRY(ReadFile(entry.path().string())))));
    }
    return found;
  }
  std::string directory_;
};

// What is in the kernel at the moment that an endpoint's record goes.
class WatchedRecordStore : public RecordStore {
 public:
  Result<> PutEndpoint(const Endpoint& endpoint) override { return store_->PutEndpoint(endpoint); }
  Result<> EraseEndpoint(const std::string& container_id, const std::string& network_id) override {
    if (on_erase) on_erase();
    return store_->EraseEndpoint(container_id, network_id);
  }
  Result<std::vector<Endpoint>> ListEndpoints() override { return store_->ListEndpoints(); }
  Result<> PutNetwork(const Network& network) override { return store_->PutNetwork(network); }
  Result<> EraseNetwork(const std::string& id) override { return store_->EraseNetwork(id); }
  Result<std::vector<Network>> ListNetworks() override { return store_->ListNetworks(); }

  std::function<void()> on_erase;

 private:
  std::unique_ptr<RecordStore> store_ = MakeMemoryRecordStore();
};

// Whoever reads the records after a crash sees one network, which has to lead already.
TEST_F(ControllerTest, AnotherNetworkLeadsBeforeTheRecordOfTheLeaderGoes) {
  controller_.reset();
  auto store = std::make_unique<WatchedRecordStore>();
  WatchedRecordStore* watched = store.get();
  store_ = std::move(store);
  StartController();
  NetworkRequest wanted;
  wanted.name = "a-first";
  ASSERT_TRUE(controller_->CreateNetwork(wanted).ok());
  UniqueFd inside = NamespaceOf(AttachOne(1));
  AttachRequest further;
  further.container_id = ContainerId(1);
  further.network = "a-first";
  auto joined = controller_->AttachToExisting(further, inside);
  ASSERT_TRUE(joined.ok()) << joined.error().message();
  auto ways = [&] {
    kernel::NetNamespace netns = *kernel::OpenNetNamespace(inside);
    std::vector<int> through;
    std::vector<kernel::Route> routes = *kernel::ListRoutes(&netns.route);
    for (const kernel::Route& route : routes) {
      if (route.prefix_length == 0 && route.table == RT_TABLE_MAIN) {
        through.push_back(route.interface);
      }
    }
    return through;
  };
  kernel::NetNamespace netns = *kernel::OpenNetNamespace(inside);
  EXPECT_EQ(ways(), std::vector<int>{*kernel::LinkIndex(netns.route, "eth1")});
  std::vector<int> seen;
  watched->on_erase = [&] { seen = ways(); };
  ASSERT_TRUE(controller_->Disconnect(ContainerId(1), "a-first").ok());
  watched->on_erase = nullptr;
  EXPECT_EQ(seen, std::vector<int>{*kernel::LinkIndex(netns.route, "eth0")});
  EXPECT_EQ(ways(), seen);
  ASSERT_TRUE(controller_->RemoveNetwork("a-first").ok());
}

// A second process attaches and detaches, and is killed at any instruction.
TEST_F(ControllerTest, AKillAtAnyMomentLeavesNothingBehind) {
  AttachOne(999, {{"", 6999, 0, 80, Protocol::kTcp}});
  ASSERT_TRUE(controller_->Detach(ContainerId(999)).ok());
  auto store = std::make_unique<FileRecordStore>(run_ + "/records");
  ASSERT_TRUE(store->PutNetwork(network_).ok());
  controller_.reset();
  store_ = std::move(store);
  unsigned seed = static_cast<unsigned>(SteadyClock::now().time_since_epoch().count());
  std::mt19937 random(seed);
  SCOPED_TRACE(fmt::format("seed {}", seed));
  size_t repaired = 0;
  for (int round = 0; round < 25; ++round) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // Only this thread came along; the controller it makes is its own.
      StartController();
      for (int i = 0;; ++i) {
        AttachOne(i % 3 + 1, {{"", static_cast<uint16_t>(7000 + i % 3), 0, 80, Protocol::kTcp}});
        if (i >= 2) (void)controller_->Detach(ContainerId((i + 1) % 3 + 1));
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + random() % 20'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;

    StartController();
    auto report = controller_->Reconcile();
    ASSERT_TRUE(report.ok()) << report.error().message();
    repaired += report->changes.size() + report->lost.size();
    auto again = controller_->Reconcile();
    ASSERT_TRUE(again.ok()) << again.error().message();
    EXPECT_TRUE(again->changes.empty()) << again->changes.front();
    EXPECT_TRUE(again->lost.empty());
    for (const Endpoint& endpoint : controller_->ListEndpoints()) {
      ASSERT_TRUE(controller_->Detach(endpoint.container_id).ok());
    }
    ExpectNothingLeft();
    controller_.reset();
  }
  StartController();
  fmt::print("25 kills; {} things repaired\n", repaired);
}

TEST_F(ControllerTest, ManyAttachSideBySideAndManyPorts) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        AttachRequest request;
        request.container_id = ContainerId(t * 100 + i + 1);
        request.ports = {{"", 0, 0, 80, Protocol::kTcp}};
        auto attached = controller_->Attach(request);
        EXPECT_TRUE(attached.ok()) << attached.error().message();
        if (i % 2 == 1) continue;
        auto detached = controller_->Detach(request.container_id);
        EXPECT_TRUE(detached.ok()) << detached.error().message();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(controller_->ListEndpoints().size(), 8u);
  std::vector<PortRequest> ports;
  for (uint16_t i = 0; i < 1000; ++i) {
    ports.push_back(
        {"", static_cast<uint16_t>(20000 + i), 0, static_cast<uint16_t>(i + 1), Protocol::kTcp});
  }
  Endpoint many = AttachOne(999, ports);
  EXPECT_EQ(many.ports.size(), 2000u);
  UniqueFd inside = NamespaceOf(many);
  UniqueFd tcp = Serve(inside, SOCK_STREAM, 1000);
  EXPECT_EQ(TcpPing(other_.fd, kHostAddress, 20999, tcp), kOtherHost);
}

// Not a test: prints what attaching costs. --gtest_also_run_disabled_tests --gtest_filter=*Measure*
TEST_F(ControllerTest, DISABLED_Measure) {
  for (size_t ports : {0, 1, 100, 1000}) {
    std::vector<double> attach;
    std::vector<double> detach;
    for (int i = 0; i < 30; ++i) {
      AttachRequest request;
      request.container_id = ContainerId(i + 1);
      for (size_t port = 0; port < ports; ++port) {
        request.ports.push_back({"", static_cast<uint16_t>(20000 + port), 0,
                                 static_cast<uint16_t>(1 + port), Protocol::kTcp});
      }
      auto milliseconds = [](SteadyClock::duration time) {
        return std::chrono::duration<double, std::milli>(time).count();
      };
      auto begin = SteadyClock::now();
      ASSERT_TRUE(controller_->Attach(request).ok());
      auto attached = SteadyClock::now();
      ASSERT_TRUE(controller_->Detach(request.container_id).ok());
      attach.push_back(milliseconds(attached - begin));
      detach.push_back(milliseconds(SteadyClock::now() - attached));
      // The pool is filled again and the last one's end is over.
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
    std::sort(attach.begin(), attach.end());
    std::sort(detach.begin(), detach.end());
    fmt::print(
        "{:4} ports: attach {:.2f} ms median, {:.2f} p90; detach {:.2f} median, {:.2f} p90\n",
        ports, attach[15], attach[27], detach[15], detach[27]);
  }
}

}  // namespace
}  // namespace gantry::networks
