// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/port_spec.h"

#include <gtest/gtest.h>

namespace gantry::cli {
namespace {

using formats::Json;

std::string Publish(const std::string& spec) {
  Json exposed = Json::MakeObject();
  Json bindings = Json::MakeObject();
  Result<> added = AddPublished(spec, &exposed, &bindings);
  if (!added.ok()) return added.error().message();
  std::string out;
  for (const auto& [port, list] : bindings.members()) {
    EXPECT_NE(exposed.Find(port), nullptr);
    out += fmt::format("{}={}:{} ", port, list.at(0)["HostIp"].AsString(),
                       list.at(0)["HostPort"].AsString());
  }
  return out;
}

TEST(PortSpec, Publishes) {
  EXPECT_EQ(Publish("80"), "80/tcp=: ");
  EXPECT_EQ(Publish("8080:80/UDP"), "80/udp=:8080 ");
  EXPECT_EQ(Publish("127.0.0.1::80"), "80/tcp=127.0.0.1: ");
  EXPECT_EQ(Publish("[::1]:8080:80"), "80/tcp=::1:8080 ");
  EXPECT_EQ(Publish("8080-8081:80-81"), "80/tcp=:8080 81/tcp=:8081 ");
  EXPECT_EQ(Publish("7000-7010:80"), "80/tcp=:7000-7010 ");
}

TEST(PortSpec, Refuses) {
  EXPECT_EQ(Publish("99999:80"), "invalid hostPort: 99999");
  EXPECT_EQ(Publish("80:x"), "invalid containerPort: x");
  EXPECT_EQ(Publish("80/icmp"), "invalid proto: icmp");
  EXPECT_EQ(Publish("80:"), "no port specified: 80:<empty>");
  EXPECT_EQ(Publish("nohost:80:80"), "invalid IP address: nohost");
  EXPECT_EQ(Publish("80-82:90-91"),
            "invalid ranges specified for container and host Ports: 90-91 and 80-82");
  Json exposed = Json::MakeObject();
  EXPECT_TRUE(AddExposed("60-62/udp", &exposed).ok());
  EXPECT_EQ(exposed.size(), 3u);
  EXPECT_FALSE(AddExposed("62-60", &exposed).ok());
  EXPECT_FALSE(AddExposed("1:2", &exposed).ok());
}

}  // namespace
}  // namespace gantry::cli
