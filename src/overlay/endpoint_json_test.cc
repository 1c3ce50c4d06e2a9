// SPDX-License-Identifier: Apache-2.0
#include "overlay/endpoint_json.h"

#include <gtest/gtest.h>

namespace gantry::overlay {
namespace {

networks::ClusterEndpoint Whole() {
  networks::ClusterEndpoint endpoint;
  endpoint.id = "e1";
  endpoint.network_id = "n1";
  endpoint.container_id = "c1";
  endpoint.host_name = "one";
  endpoint.host = *formats::Ipv4Address::Parse("192.0.2.1");
  endpoint.address = *formats::Ipv4Address::Parse("10.0.0.2");
  endpoint.address6 = *formats::Ipv6Address::Parse("fd00::2");
  endpoint.mac = *formats::MacAddress::Parse("02:42:0a:00:00:02");
  endpoint.names = {"web", "alias"};
  return endpoint;
}

TEST(EndpointJson, ComesBackAsItWas) {
  for (bool ipv4 : {true, false}) {
    networks::ClusterEndpoint endpoint = Whole();
    if (!ipv4) endpoint.address.reset();
    if (ipv4) endpoint.address6.reset();
    auto read = DecodeEndpoint(EncodeEndpoint({"host", endpoint}));
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ(read->host_id, "host");
    EXPECT_EQ(read->endpoint, endpoint);
  }
}

TEST(EndpointJson, SaysWhatIsWrong) {
  EXPECT_FALSE(DecodeEndpoint("").ok());
  std::string text = EncodeEndpoint({"host", Whole()});
  text.replace(text.find("192.0.2.1"), 9, "192.0.2.x");
  auto read = DecodeEndpoint(text);
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().message().find("endpoint.hostAddress"), std::string::npos)
      << read.error().message();
}

}  // namespace
}  // namespace gantry::overlay
