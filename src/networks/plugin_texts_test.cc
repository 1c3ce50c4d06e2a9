// SPDX-License-Identifier: Apache-2.0
#include "networks/plugin_texts.h"

#include <gtest/gtest.h>

namespace gantry::networks {
namespace {

using formats::Json;

Endpoint Bare() {
  Endpoint endpoint;
  endpoint.id = "e";
  return endpoint;
}

TEST(PluginTextsTest, AnInterfaceGetsWhatItHasNot) {
  Endpoint endpoint = Bare();
  Json answer = *Json::Parse(
      R"({"Interface":{"Address":"10.1.2.3/24","AddressIPv6":"fd00::3/64","MacAddress":"02:00:00:00:00:01"}})");
  ASSERT_TRUE(ReadPluginInterface(answer, &endpoint).ok());
  EXPECT_EQ(Address4Text(endpoint), "10.1.2.3/24");
  EXPECT_EQ(Address6Text(endpoint), "fd00::3/64");
  EXPECT_EQ(endpoint.mac.ToString(), "02:00:00:00:00:01");
  // Nothing of it may become another.
  for (const char* change : {R"({"Interface":{"Address":"10.1.2.4/24"}})",
                             R"({"Interface":{"AddressIPv6":"fd00::4/64"}})",
                             R"({"Interface":{"MacAddress":"02:00:00:00:00:02"}})"}) {
    Endpoint same = endpoint;
    EXPECT_FALSE(ReadPluginInterface(*Json::Parse(change), &same).ok()) << change;
  }
  for (const char* nothing : {"{}", R"({"Interface":null})", R"({"Interface":{}})"}) {
    EXPECT_TRUE(ReadPluginInterface(*Json::Parse(nothing), &endpoint).ok()) << nothing;
  }
}

TEST(PluginTextsTest, AddressesThatAreNone) {
  for (const char* text :
       {"10.1.2.3", "10.1.2.3/33", "10.1.2.3/0", "10.1.2/24", "x/24", "/", "fd00::1/64"}) {
    Endpoint endpoint = Bare();
    Json answer = Json::MakeObject({{"Interface", Json::MakeObject({{"Address", text}})}});
    EXPECT_FALSE(ReadPluginInterface(answer, &endpoint).ok()) << text;
  }
}

TEST(PluginTextsTest, AnAnswerToJoin) {
  PluginJoin join = *ReadPluginJoin(*Json::Parse(
      R"({"InterfaceName":{"SrcName":"v1","DstPrefix":"lan"},"Gateway":"10.1.2.1","GatewayIPv6":"fd00::1",
          "StaticRoutes":[{"Destination":"10.9.0.0/16","RouteType":0,"NextHop":"10.1.2.9"},
                          {"Destination":"10.8.0.0/16","RouteType":1,"NextHop":"10.1.2.9"}],
          "DisableGatewayService":true})"));
  EXPECT_EQ(join.link, "v1");
  EXPECT_EQ(join.prefix, "lan");
  EXPECT_EQ(join.gateway->ToString(), "10.1.2.1");
  EXPECT_EQ(join.gateway6->ToString(), "fd00::1");
  ASSERT_EQ(join.routes.size(), 2u);
  EXPECT_EQ(join.routes[0].gateway, "10.1.2.9");
  EXPECT_EQ(join.routes[1].gateway, "");
  EXPECT_TRUE(join.no_way_out);
  for (const char* bad : {"{}", R"({"InterfaceName":{"DstPrefix":"lan"}})",
                          R"({"InterfaceName":{"SrcName":"v"},"Gateway":"10.1.2.1/24"})",
                          R"({"InterfaceName":{"SrcName":"v"},"GatewayIPv6":"10.1.2.1"})"}) {
    EXPECT_FALSE(ReadPluginJoin(*Json::Parse(bad)).ok()) << bad;
  }
}

TEST(PluginTextsTest, WhatDriversAreTold) {
  AttachRequest request;
  request.driver_options = {{"k", "v"}};
  request.ports = {{.host_port_first = 8080, .container_port = 80, .protocol = Protocol::kSctp}};
  EXPECT_EQ(PluginOptions(request).Dump(),
            R"({"k":"v","com.docker.network.endpoint.exposedports":[{"Proto":132,"Port":80}],)"
            R"("com.docker.network.portmap":[{"Proto":132,"IP":"","Port":80,"HostIP":"",)"
            R"("HostPort":8080,"HostPortEnd":8080}]})");
  Network network;
  network.id = "n";
  network.driver = "some";
  network.ipam_driver = kNoIpam;
  EXPECT_EQ(PluginNetwork(network)["IPv4Data"].Dump(),
            R"([{"AddressSpace":"null","Pool":"0.0.0.0/0"}])");
}

}  // namespace
}  // namespace gantry::networks
