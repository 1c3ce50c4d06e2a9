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

}  // namespace
}  // namespace gantry::networks
