// SPDX-License-Identifier: Apache-2.0
#include "networks/firewall_view.h"

#include <gtest/gtest.h>

namespace gantry::networks {
namespace {

Endpoint With(std::vector<PublishedPort> ports) {
  Endpoint endpoint;
  endpoint.address = *formats::Ipv4Address::Parse("10.0.0.2");
  endpoint.prefix_length = 24;
  endpoint.ports = std::move(ports);
  return endpoint;
}

// "host_ip host_port container_port+count", one for each view.
std::vector<std::string> Texts(const std::vector<PortView>& views) {
  std::vector<std::string> out;
  for (const PortView& view : views) {
    out.push_back(fmt::format("{}/{} {} {}+{}", ProtocolName(view.protocol), view.host_ip,
                              view.host_port, view.container_port, view.count));
  }
  return out;
}

using List = std::vector<std::string>;

TEST(FirewallViewTest, PortsInARowThatKeepTheirNumbersAreOne) {
  std::vector<PublishedPort> ports;
  for (uint16_t port : {8003, 8001, 8002, 8004, 8000}) {
    ports.push_back({"0.0.0.0", port, port, Protocol::kTcp});
    ports.push_back({"::", port, port, Protocol::kTcp});
  }
  ports.push_back({"0.0.0.0", 8005, 8005, Protocol::kUdp});
  ports.push_back({"0.0.0.0", 8006, 8005, Protocol::kTcp});
  EXPECT_EQ(Texts(PortsOf(With(ports), /*ipv6=*/false)),
            (List{"tcp/ 8000 8000+5", "tcp/ 8006 8005+1", "udp/ 8005 8005+1"}));
  EXPECT_EQ(Texts(ExposedBy(With(ports), /*ipv6=*/false)),
            (List{"tcp/ 0 8000+6", "udp/ 0 8005+1"}));
}

TEST(FirewallViewTest, ShortOrShiftedOnesAreNot) {
  std::vector<PublishedPort> ports;
  for (uint16_t port = 100; port < 103; ++port) ports.push_back({"192.0.2.1", port, port, {}});
  for (uint16_t port = 0; port < 4; ++port) {
    ports.push_back({"192.0.2.1", static_cast<uint16_t>(9000 + port),
                     static_cast<uint16_t>(200 + port), Protocol::kTcp});
  }
  EXPECT_EQ(PortsOf(With(ports), /*ipv6=*/false).size(), 7u);
  EXPECT_EQ(Texts(ExposedBy(With(ports), /*ipv6=*/false)),
            (List{"tcp/ 0 100+1", "tcp/ 0 101+1", "tcp/ 0 102+1", "tcp/ 0 200+4"}));
}

TEST(FirewallViewTest, LoopbackIsExposedAndNotLedTo) {
  Endpoint endpoint = With({{"127.0.0.1", 80, 8080, Protocol::kTcp}});
  EXPECT_TRUE(PortsOf(endpoint, /*ipv6=*/false).empty());
  EXPECT_EQ(Texts(ExposedBy(endpoint, /*ipv6=*/false)), List{"tcp/ 0 8080+1"});
}

TEST(FirewallViewTest, TheLastPortEndsARange) {
  std::vector<PublishedPort> ports;
  for (uint16_t port = 65535; port > 65530; --port) ports.push_back({"", port, port, {}});
  for (PublishedPort& port : ports) port.host_ip = "0.0.0.0";
  EXPECT_EQ(Texts(PortsOf(With(ports), /*ipv6=*/false)), List{"tcp/ 65531 65531+5"});
}

// "FROM TO PROTOCOL/PORT", one for each opening.
std::vector<std::string> Texts(const std::vector<Opening>& openings) {
  std::vector<std::string> out;
  for (const Opening& opening : openings) {
    out.push_back(fmt::format("{} {} {}/{}", opening.from, opening.to,
                              ProtocolName(opening.port.protocol), opening.port.port));
  }
  return out;
}

Endpoint Of(const char* container, const char* address) {
  Endpoint endpoint;
  endpoint.container_id = container;
  endpoint.network_id = "n";
  endpoint.address = *formats::Ipv4Address::Parse(address);
  endpoint.prefix_length = 24;
  return endpoint;
}

TEST(FirewallViewTest, ALinkOpensWhatTheOtherExposesAndPublishes) {
  Endpoint db = Of("db", "10.0.0.2");
  db.exposes = {{80, Protocol::kTcp}, {53, Protocol::kUdp}};
  db.ports = {{"0.0.0.0", 8080, 80, Protocol::kTcp}, {"::", 9000, 90, Protocol::kTcp}};
  Endpoint web = Of("web", "10.0.0.3");
  web.reaches = {"db", "gone"};
  web.exposes = {{443, Protocol::kTcp}};
  EXPECT_EQ(
      Texts(OpeningsOf({db, web, Of("else", "10.0.0.4")}, /*ipv6=*/false)),
      (List{"10.0.0.3 10.0.0.2 udp/53", "10.0.0.3 10.0.0.2 tcp/80", "10.0.0.3 10.0.0.2 tcp/90"}));
  EXPECT_TRUE(OpeningsOf({db, web}, /*ipv6=*/true).empty());
  db.address6 = *formats::Ipv6Address::Parse("fd00::2");
  web.address6 = *formats::Ipv6Address::Parse("fd00::3");
  EXPECT_EQ(OpeningsOf({db, web}, /*ipv6=*/true).size(), 3u);
  db.network_id = "another";
  EXPECT_TRUE(OpeningsOf({db, web}, /*ipv6=*/false).empty());
}

TEST(FirewallViewTest, RoutedPortsOfANetworkThatDoesNotLeadAreExposed) {
  Endpoint endpoint = Of("a", "10.0.0.2");
  endpoint.routed_ports = {{"0.0.0.0", 0, 80, Protocol::kTcp}, {"::", 0, 80, Protocol::kTcp}};
  EXPECT_EQ(Texts(ExposedBy(endpoint, /*ipv6=*/false)), List{"tcp/ 0 80+1"});
  EXPECT_TRUE(PortsOf(endpoint, /*ipv6=*/false).empty());
}

}  // namespace
}  // namespace gantry::networks
