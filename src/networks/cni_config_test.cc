// SPDX-License-Identifier: Apache-2.0
#include "networks/cni_config.h"

#include <gtest/gtest.h>

#include <string>

namespace gantry::networks {
namespace {

using formats::Json;

constexpr const char* kList = R"({"cniVersion": "1.0.0", "name": "lan", "plugins": [
  {"type": "bridge", "bridge": "br9", "capabilities": {"mac": true}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]})";

TEST(CniConfig, ListsAndSinglePlugins) {
  auto list = ParseCniConfig(kList);
  ASSERT_TRUE(list.ok()) << list.error().message();
  EXPECT_EQ(list->name, "lan");
  ASSERT_EQ(list->plugins.size(), 2u);
  EXPECT_EQ(list->plugins[1].type, "portmap");
  EXPECT_TRUE(list->Takes("portMappings"));
  EXPECT_FALSE(list->Takes("ips"));
  auto single = ParseCniConfig(R"({"cniVersion":"0.3.1","name":"a","type":"ptp"})");
  ASSERT_TRUE(single.ok()) << single.error().message();
  EXPECT_EQ(single->plugins.size(), 1u);
}

TEST(CniConfig, Versions) {
  CniConfig config;
  config.version = "0.4.0";
  EXPECT_TRUE(config.HasVersion(0, 4));
  EXPECT_FALSE(config.HasVersion(1, 1));
  config.version = "1.0.0";
  EXPECT_TRUE(config.HasVersion(0, 4));
  EXPECT_FALSE(config.HasVersion(1, 1));
}

TEST(CniConfig, WhatIsNone) {
  for (const char* bad : {"", "{", "[]", R"({"cniVersion":"1.0.0","type":"bridge"})",
                          R"({"cniVersion":"1.0.0","name":"../a","type":"bridge"})",
                          R"({"cniVersion":"1.0.0","name":"a","type":"../bridge"})",
                          R"({"cniVersion":"1.0.0","name":"a","plugins":[]})",
                          R"({"cniVersion":"1.0.0","name":"a","plugins":[1]})",
                          R"({"cniVersion":"0.2.0","name":"a","type":"bridge"})",
                          R"({"name":"a","type":"bridge"})"}) {
    EXPECT_FALSE(ParseCniConfig(bad).ok()) << bad;
  }
}

TEST(CniConfig, EachPluginIsToldWhatItTakes) {
  CniConfig config = *ParseCniConfig(kList);
  Json runtime = CniRuntime({"web"}, {{"192.0.2.1", 8080, 80, Protocol::kTcp}},
                            formats::MacAddress::Parse("02:00:00:00:00:07").value(), {"10.0.0.9"});
  EXPECT_EQ(CniInput(config, config.plugins[0], runtime, Json()),
            R"({"type":"bridge","bridge":"br9","cniVersion":"1.0.0","name":"lan",)"
            R"("runtimeConfig":{"mac":"02:00:00:00:00:07"}})");
  Json told = *Json::Parse(
      CniInput(config, config.plugins[1], runtime, Json::MakeObject({{"cniVersion", "1.0.0"}})));
  EXPECT_EQ(told["runtimeConfig"].Dump(),
            R"({"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp",)"
            R"("hostIP":"192.0.2.1"}]})");
  EXPECT_EQ(told["prevResult"]["cniVersion"].AsString(), "1.0.0");
}

TEST(CniConfig, Results) {
  Endpoint endpoint;
  endpoint.interface = "eth0";
  auto read = ReadCniResult(*Json::Parse(R"({"cniVersion":"1.0.0","interfaces":[
      {"name":"br9","mac":"02:00:00:00:00:01"},
      {"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/run/x"}],
      "ips":[{"interface":0,"address":"10.8.0.1/24"},
             {"interface":1,"address":"10.9.0.2/16","gateway":"10.9.0.1"},
             {"address":"fd00::2/64","gateway":"fd00::1"}],
      "routes":[{"dst":"0.0.0.0/0"},{"dst":"10.0.0.0/8","gw":"10.9.0.7"}],
      "dns":{"nameservers":["10.9.0.53"]}})"),
                            &endpoint);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(endpoint.address.ToString(), "10.9.0.2");
  EXPECT_EQ(endpoint.prefix_length, 16);
  EXPECT_EQ(endpoint.gateway.ToString(), "10.9.0.1");
  EXPECT_EQ(endpoint.address6->ToString(), "fd00::2");
  EXPECT_FALSE(endpoint.gateway6.has_value());
  EXPECT_EQ(endpoint.mac.ToString(), "02:00:00:00:00:02");
  EXPECT_EQ(endpoint.dns, std::vector<std::string>{"10.9.0.53"});
  // Made again.
  ASSERT_TRUE(
      ReadCniResult(*Json::Parse(R"({"ips":[{"address":"10.9.0.3/16"}]})"), &endpoint).ok());
  EXPECT_EQ(endpoint.address.ToString(), "10.9.0.3");
  EXPECT_TRUE(endpoint.gateway.IsUnspecified() && !endpoint.address6);
  for (const char* bad :
       {"1", R"({"ips":[{"address":"10.9.0.2"}]})", R"({"ips":[{"address":"x/8"}]})",
        R"({"ips":[{"address":"10.9.0.2/999999999999"}]})",
        R"({"ips":[{"interface":-1,"address":"10.9.0.2/99"}, {"address":"/8"}]})"}) {
    Endpoint other;
    EXPECT_FALSE(ReadCniResult(*Json::Parse(bad), &other).ok()) << bad;
  }
}

TEST(CniConfig, Failures) {
  EXPECT_EQ(
      CniFailure("bridge", "ADD", R"({"code":11,"msg":"no","details":"later"})", "").message(),
      "CNI plugin bridge failed (add): no; later");
  EXPECT_EQ(CniFailure("bridge", "DEL", "", "panic\n").message(),
            "CNI plugin bridge failed (del): panic");
  EXPECT_EQ(CniFailure("bridge", "DEL", "", "").message(),
            "CNI plugin bridge failed (del): it says nothing");
}

}  // namespace
}  // namespace gantry::networks
