// SPDX-License-Identifier: Apache-2.0
#include "networks/records.h"

#include <gtest/gtest.h>

#include "networks/proxy_client.h"

namespace gantry::networks {
namespace {

Endpoint AnEndpoint() {
  Endpoint endpoint;
  endpoint.id = "e";
  endpoint.container_id = "c";
  endpoint.network_id = "n";
  endpoint.network_name = "bridge";
  endpoint.hostname = "host";
  endpoint.address = *formats::Ipv4Address::Parse("172.17.0.2");
  endpoint.prefix_length = 16;
  endpoint.gateway = *formats::Ipv4Address::Parse("172.17.0.1");
  endpoint.mac = formats::MacAddress::Of(endpoint.address);
  endpoint.host_link = "veth0123456";
  endpoint.interface = "eth0";
  endpoint.netns_path = "/run/x/netns/c";
  endpoint.ports = {{"0.0.0.0", 8080, 80, Protocol::kTcp}, {"::", 8080, 80, Protocol::kTcp}};
  endpoint.gateway_priority = -3;
  endpoint.named = true;
  endpoint.names = {"web", "0123456789ab"};
  endpoint.links = {{"db", "other"}};
  endpoint.dns = {"192.0.2.1"};
  endpoint.address6 = *formats::Ipv6Address::Parse("fd00::2");
  endpoint.prefix_length6 = 64;
  endpoint.gateway6 = *formats::Ipv6Address::Parse("fd00::1");
  endpoint.link_local = {"169.254.3.4", "fe80::9"};
  endpoint.cni_runtime = R"({"mac":"02:00:00:00:00:01"})";
  endpoint.cni_result = "{}";
  endpoint.cni_ports = {{"", 8080, 80, Protocol::kSctp}};
  endpoint.plugin_options = "{}";
  endpoint.plugin_link = "link0";
  endpoint.wants_way_out = true;
  endpoint.rates = {10'000'000, 20'000'000};
  endpoint.sysctls = {"net.ipv6.conf.IFNAME.accept_ra=0"};
  return endpoint;
}

TEST(RecordsTest, EndpointsGoThereAndBack) {
  Endpoint endpoint = AnEndpoint();
  Endpoint back = *DecodeEndpoint(EncodeEndpoint(endpoint));
  EXPECT_EQ(EncodeEndpoint(back), EncodeEndpoint(endpoint));
  EXPECT_EQ(back.address, endpoint.address);
  EXPECT_EQ(back.mac, endpoint.mac);
  EXPECT_EQ(back.ports, endpoint.ports);
  EXPECT_EQ(back.gateway_priority, -3);
  EXPECT_TRUE(back.named);
  EXPECT_EQ(back.names, endpoint.names);
  EXPECT_EQ(back.links, endpoint.links);
  EXPECT_EQ(back.dns, endpoint.dns);
  EXPECT_EQ(back, endpoint);
}

TEST(RecordsTest, NetworksGoThereAndBack) {
  Network network;
  network.id = "n";
  network.name = "bridge";
  network.bridge = "gantry0";
  network.subnet = *formats::Ipv4Prefix::Parse("172.17.0.0/16");
  network.gateway = *formats::Ipv4Address::Parse("172.17.0.1");
  network.ip_range = *formats::Ipv4Prefix::Parse("172.17.5.0/24");
  network.auxiliary = {*formats::Ipv4Address::Parse("172.17.5.1")};
  network.ipam = {{"172.17.0.0/16", "172.17.5.0/24", "", {{"router", "172.17.5.1"}}}};
  network.foreign_bridge = true;
  network.subnet6 = *formats::Ipv6Prefix::Parse("fd00::/64");
  network.gateway6 = *formats::Ipv6Address::Parse("fd00::1");
  network.ip_range6 = *formats::Ipv6Prefix::Parse("fd00::5:0/112");
  network.auxiliary6 = {*formats::Ipv6Address::Parse("fd00::5:1")};
  network.mode4 = GatewayMode::kNatUnprotected;
  network.mode6 = GatewayMode::kRouted;
  network.trusted_interfaces = {"vxlan.1", "eth3"};
  network.host_ipv4 = *formats::Ipv4Address::Parse("192.0.2.1");
  network.host_ipv6 = *formats::Ipv6Address::Parse("2001:db8::1");
  network.inhibit_ipv4 = true;
  network.interface_prefix = "net";
  network.config_from = "template";
  network.ipam_driver = "some";
  network.pool = "one";
  network.pool6 = "two";
  network.ipam_wants_mac = true;
  network.ipam_wants_replay = true;
  network.plugin_made = true;
  network.internal = true;
  network.labels = {{"a", "b"}};
  network.created = FromUnixNanos(1'700'000'000'000'000'000);
  Network back = *DecodeNetwork(EncodeNetwork(network));
  EXPECT_EQ(EncodeNetwork(back), EncodeNetwork(network));
  EXPECT_EQ(back.subnet, network.subnet);
  EXPECT_TRUE(back.internal);
  EXPECT_TRUE(back.foreign_bridge);
  EXPECT_EQ(back.ip_range, network.ip_range);
  EXPECT_EQ(back.auxiliary, network.auxiliary);
  EXPECT_EQ(back.ipam, network.ipam);
  EXPECT_EQ(back, network);
}

TEST(RecordsTest, NetworksWithoutABridge) {
  Network network;
  network.id = "0123456789abcdef";
  network.name = "lan";
  network.driver = "macvlan";
  network.parent = "eth0";
  network.parent_mode = "vepa";
  network.subnet = *formats::Ipv4Prefix::Parse("192.0.2.0/24");
  network.more = {{*formats::Ipv4Prefix::Parse("192.0.3.0/24"),
                   *formats::Ipv4Address::Parse("192.0.3.9"),
                   *formats::Ipv4Prefix::Parse("192.0.3.128/25"),
                   {*formats::Ipv4Address::Parse("192.0.3.1")}}};
  network.more6 = {{*formats::Ipv6Prefix::Parse("fd00:3::/64"), {}, {}, {}}};
  EXPECT_EQ(*DecodeNetwork(EncodeNetwork(network)), network);
  EXPECT_FALSE(network.has_bridge());
  EXPECT_EQ(DummyParent(network), "dm-0123456789ab");
  std::vector<Subnet> subnets = SubnetsOf(network);
  ASSERT_EQ(subnets.size(), 2u);
  EXPECT_EQ(subnets[0], (Subnet{network.subnet, {}, {}, {}}));
  EXPECT_EQ(subnets[1], network.more[0]);
  // None of IPv6 in spite of what stands there.
  EXPECT_TRUE(SubnetsOf6(network).empty());
  network.bridge = "br0";
  EXPECT_FALSE(DecodeNetwork(EncodeNetwork(network)).ok());
}

TEST(RecordsTest, NetworksOfOneFamilyAndOfNone) {
  Network network;
  network.id = "n";
  network.bridge = "br-n";
  network.ipv4 = false;
  network.subnet6 = *formats::Ipv6Prefix::Parse("fd00::/64");
  network.gateway6 = *formats::Ipv6Address::Parse("fd00::1");
  EXPECT_EQ(*DecodeNetwork(EncodeNetwork(network)), network);
  network.subnet6.reset();
  network.gateway6.reset();
  EXPECT_FALSE(DecodeNetwork(EncodeNetwork(network)).ok());
  network.bridge = "";
  network.ipv4 = true;
  network.config_only = true;
  network.wants_ipv6 = true;
  EXPECT_EQ(*DecodeNetwork(EncodeNetwork(network)), network);
}

// Written by the release before IPv6.
TEST(RecordsTest, ReadsWhatAnEarlierReleaseWrote) {
  auto network = DecodeNetwork(
      R"({"attachable":false,"auxiliary":[],"bridge":"br-0123","created":"2026-01-02T03:04:05Z",)"
      R"("default":false,"driver":"bridge","foreignBridge":false,"gateway":"172.18.0.1",)"
      R"("hostBinding":"0.0.0.0","icc":true,"id":"n","internal":false,"ipam":[],"ipamOptions":{},)"
      R"("labels":{},"masquerade":true,"mtu":1500,"name":"front","options":{},"range":"",)"
      R"("subnet":"172.18.0.0/16"})");
  ASSERT_TRUE(network.ok()) << network.error().message();
  EXPECT_TRUE(network->ipv4);
  EXPECT_FALSE(network->subnet6);
  EXPECT_EQ(network->mode4, GatewayMode::kNat);
  EXPECT_EQ(network->interface_prefix, "eth");
  auto endpoint = DecodeEndpoint(
      R"({"address":"172.18.0.2","container":"c","dns":[],"gateway":"172.18.0.1",)"
      R"("gatewayPriority":0,"hostLink":"veth0123456","hostname":"h","id":"e","interface":"eth0",)"
      R"("internal":false,"links":{},"mac":"02:42:ac:12:00:02","named":true,"names":["web"],)"
      R"("netns":"/run/x/netns/c","network":"n","networkName":"front","ports":[],)"
      R"("prefixLength":16})");
  ASSERT_TRUE(endpoint.ok()) << endpoint.error().message();
  EXPECT_TRUE(endpoint->has_ipv4());
  EXPECT_FALSE(endpoint->address6);
}

TEST(GatewayModeTest, NamesGoThereAndBack) {
  for (const char* name : {"nat", "nat-unprotected", "routed", "isolated"}) {
    EXPECT_EQ(GatewayModeName(*ParseGatewayMode(name)), name);
  }
  EXPECT_EQ(ParseGatewayMode("bridged").error().message(), "unknown gateway mode bridged");
}

TEST(RecordsTest, RefusesWhatMakesNoSense) {
  std::string good = EncodeEndpoint(AnEndpoint());
  for (auto [from, to] : std::initializer_list<std::pair<const char*, const char*>>{
           {"172.17.0.2", "172.17.0.256"},
           {"\"prefixLength\":16", "\"prefixLength\":33"},
           {"\"hostPort\":8080", "\"hostPort\":65536"},
           {"\"protocol\":\"tcp\"", "\"protocol\":\"icmp\""},
           {"02:42:ac", "02:42:xx"},
           {"\"fd00::2\"", "\"fd00::x\""},
           {"\"prefixLength6\":64", "\"prefixLength6\":129"},
           {"\"id\":\"e\"", "\"id\":\"\""}}) {
    std::string bad = good;
    ASSERT_NE(bad.find(from), std::string::npos) << from;
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    EXPECT_FALSE(DecodeEndpoint(bad).ok()) << bad;
  }
  EXPECT_FALSE(DecodeEndpoint("").ok());
  EXPECT_FALSE(DecodeNetwork("{}").ok());
}

TEST(PortsTest, WishesBecomeListenersAndListenersBecomePorts) {
  std::string target = "172.17.0.2";
  std::vector<PortRequest> wishes{{"", 8080, 0, 80, Protocol::kTcp},
                                  {"127.0.0.1", 0, 0, 53, Protocol::kUdp},
                                  {"::1", 9000, 9009, 90, Protocol::kTcp}};
  auto listeners = ListenersFor(wishes, target, BoundFamilies{});
  ASSERT_EQ(listeners.size(), 3u);
  EXPECT_EQ(listeners[0].addresses, (std::vector<std::string>{"0.0.0.0", "::"}));
  EXPECT_EQ(listeners[0].last_port, 8080);
  EXPECT_EQ(listeners[2].last_port, 9009);
  EXPECT_EQ(ListenersFor(wishes, target, {true, false, true})[0].addresses.size(), 1u);

  auto ports = PublishedBy(listeners, {8080, 40000, 9001});
  ASSERT_EQ(ports.size(), 4u);
  EXPECT_EQ(ports[1], (PublishedPort{"::", 8080, 80, Protocol::kTcp}));
  EXPECT_EQ(ports[2], (PublishedPort{"127.0.0.1", 40000, 53, Protocol::kUdp}));
  // After a restart the same listeners come out of the ports.
  listeners[1].first_port = listeners[1].last_port = 40000;
  listeners[2].first_port = listeners[2].last_port = 9001;
  EXPECT_EQ(ListenersFor(ports, target), listeners);
}

TEST(PortsTest, RoutedFamiliesTakeNoPortOfTheHost) {
  std::vector<PortRequest> wishes{{"", 8080, 0, 80, Protocol::kTcp},
                                  {"192.0.2.1", 8081, 0, 81, Protocol::kTcp}};
  auto listeners = ListenersFor(wishes, "10.0.0.2", {true, false, false});
  ASSERT_EQ(listeners.size(), 2u);
  EXPECT_EQ(listeners[0].addresses, std::vector<std::string>{"0.0.0.0"});
  auto routed = RoutedPorts(wishes, {false, true, false});
  ASSERT_EQ(routed.size(), 1u);
  EXPECT_EQ(routed[0], (PublishedPort{"::", 0, 80, Protocol::kTcp}));
  EXPECT_TRUE(ListenersFor(routed, "10.0.0.2").empty());
  EXPECT_TRUE(ListenersFor(wishes, "10.0.0.2", {false, false, false}).empty());
  EXPECT_EQ(RoutedPorts(wishes, {true, true, false}).size(), 3u);
}

TEST(PortsTest, RefusalsSayWhatDockerSays) {
  formats::ProxyFailure failure{0, "0.0.0.0", 80, EADDRINUSE, "somebody", "bind: in use"};
  std::vector<formats::ProxyListener> listeners{{"udp", {"0.0.0.0"}, 80, 80, "172.17.0.2", 80}};
  EXPECT_EQ(BindError(failure, listeners).message(),
            "Bind for 0.0.0.0:80 failed: port is already allocated");
  failure.holder = "";
  failure.address = "::";
  Error error = BindError(failure, listeners);
  EXPECT_EQ(error.kind(), ErrorKind::kAlreadyExists);
  EXPECT_EQ(error.message(), "Error starting userland proxy: listen udp6 [::]:80: bind: in use");
}

}  // namespace
}  // namespace gantry::networks
