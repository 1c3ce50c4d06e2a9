// SPDX-License-Identifier: Apache-2.0
#include "engine/config.h"

#include <gtest/gtest.h>

#include "engine/net_rates.h"

namespace gantry::engine {
namespace {

using formats::Json;

CreateRequest Parse(std::string_view text) {
  Result<CreateRequest> request = ParseCreateRequest(*Json::Parse(text));
  EXPECT_TRUE(request.ok()) << request.error().message();
  return *std::move(request);
}

TEST(ConfigTest, ReadsACreateRequest) {
  CreateRequest request = Parse(R"({
    "Image":"busybox","Cmd":"true","Entrypoint":null,"Env":["A=b"],"Tty":true,
    "ExposedPorts":{"80/tcp":{}},"StopTimeout":0,
    "HostConfig":{"Memory":67108864,"PidsLimit":-1,"PortBindings":{"80/tcp":[{"HostPort":"8080"}]},
      "Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}],"MaskedPaths":[],
      "Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":5}}]},
    "NetworkingConfig":{"EndpointsConfig":{"net":{"Aliases":["web"],
      "IPAMConfig":{"IPv4Address":"10.0.0.2"}}}}})");
  EXPECT_EQ(request.config.cmd.words, std::vector<std::string>{"true"});
  EXPECT_FALSE(request.config.entrypoint.set);
  EXPECT_EQ(request.config.stop_timeout, 0);
  EXPECT_EQ(request.host_config.pids_limit, -1);
  EXPECT_EQ(request.host_config.port_bindings.at("80/tcp").at(0).host_port, "8080");
  ASSERT_TRUE(request.host_config.masked_paths.has_value());
  EXPECT_EQ(request.host_config.mounts.at(0).tmpfs_options->size_bytes, 5);
  const EndpointConfig& endpoint = request.networking_config.endpoints_config.at("net");
  EXPECT_EQ(endpoint.ipam_config->ipv4_address, "10.0.0.2");
  EXPECT_EQ(endpoint.aliases.at(0), "web");
}

TEST(ConfigTest, NamesTheFieldOfAWrongType) {
  auto error = [](std::string_view text) {
    return ParseCreateRequest(*Json::Parse(text)).error().message();
  };
  EXPECT_EQ(error(R"({"Env":"A"})"), "Env: expected an array of strings");
  EXPECT_EQ(error(R"({"HostConfig":{"Memory":"1g"}})"),
            "HostConfig.Memory: expected a 64-bit integer");
  EXPECT_EQ(error(R"({"HostConfig":{"PortBindings":{"80/tcp":[7]}}})"),
            "HostConfig.PortBindings.80/tcp[0]: expected an object");
  EXPECT_EQ(error("[]"), "document: expected an object");
}

TEST(ConfigTest, WritesWhatItReads) {
  CreateRequest request = Parse(R"({"Image":"i","Cmd":["a"],"HostConfig":{"Binds":["/a:/b"],
    "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"Init":false}})");
  Json config = ToJson(request.config);
  EXPECT_EQ(config["Cmd"].Dump(), R"(["a"])");
  EXPECT_TRUE(config["Entrypoint"].is_null());
  EXPECT_EQ(config.Find("StopTimeout"), nullptr);
  Json host = ToJson(request.host_config);
  EXPECT_EQ(host["RestartPolicy"].Dump(), R"({"Name":"on-failure","MaximumRetryCount":3})");
  EXPECT_EQ(host["Init"].Dump(), "false");
  EXPECT_TRUE(host["MaskedPaths"].is_null());
  EXPECT_EQ(ParseHostConfig(host)->binds, request.host_config.binds);
}

TEST(ConfigTest, MergesTheImage) {
  Json image = *Json::Parse(R"({"Env":["PATH=/bin","A=1"],"Cmd":["sh"],"Entrypoint":["/e"],
    "User":"7","Labels":{"x":"image","y":"image"},"ExposedPorts":{"80/tcp":{}}})");
  ContainerConfig config;
  config.env = {"A=2"};
  config.labels = {{"x", "asked"}};
  ASSERT_TRUE(MergeImageConfig(image, &config).ok());
  EXPECT_EQ(config.env, (std::vector<std::string>{"A=2", "PATH=/bin"}));
  EXPECT_EQ(config.cmd.words.at(0), "sh");
  EXPECT_EQ(config.entrypoint.words.at(0), "/e");
  EXPECT_EQ(config.labels.at("x"), "asked");
  EXPECT_EQ(config.labels.at("y"), "image");
  ContainerConfig own_entrypoint;
  own_entrypoint.entrypoint = {true, {"/mine"}};
  ASSERT_TRUE(MergeImageConfig(image, &own_entrypoint).ok());
  EXPECT_TRUE(own_entrypoint.cmd.words.empty());
}

TEST(ConfigTest, FieldsInAnyCase) {
  CreateRequest request =
      Parse(R"({"image":"i","HOSTCONFIG":{"memory":5,"Memory":6},"Labels":{"A":"1"}})");
  EXPECT_EQ(request.config.image, "i");
  EXPECT_EQ(request.host_config.memory, 6);
  EXPECT_EQ(request.config.labels.at("A"), "1");
}

TEST(ConfigTest, DeviceRequestsAndConsoleSize) {
  CreateRequest request = Parse(R"({"Image":"i","HostConfig":{"ConsoleSize":[24,80],
    "DeviceRequests":[{"Driver":"cdi","Count":-1,"Capabilities":[["gpu","x"],["y"]]}]}})");
  EXPECT_EQ(request.host_config.console_size[1], 80u);
  const DeviceRequest& asked = request.host_config.device_requests.at(0);
  EXPECT_EQ(asked.capabilities.at(0).at(1), "x");
  EXPECT_EQ(ToJson(request.host_config)["DeviceRequests"].at(0)["Capabilities"].Dump(),
            R"([["gpu","x"],["y"]])");
  Json bad = *Json::Parse(R"({"HostConfig":{"DeviceRequests":[{"Capabilities":["g"]}]}})");
  EXPECT_FALSE(ParseCreateRequest(bad).ok());
}

TEST(ConfigTest, UpdateKeepsWhatIsNotAsked) {
  HostConfig host;
  host.memory = 100;
  host.memory_swap = 300;
  host.cpu_shares = 5;
  HostConfig asked = *ParseUpdate(*Json::Parse(R"({"Memory":200})"));
  ASSERT_TRUE(MergeUpdate(asked, &host).ok());
  EXPECT_EQ(host.memory, 200);
  EXPECT_EQ(host.cpu_shares, 5);
  asked.memory = 400;
  EXPECT_FALSE(MergeUpdate(asked, &host).ok());
  asked = {};
  asked.nano_cpus = 1;
  host.cpu_quota = 1000;
  EXPECT_EQ(MergeUpdate(asked, &host).error().kind(), ErrorKind::kAborted);
}

TEST(ConfigTest, AnUpdateTakesRatesAway) {
  HostConfig host;
  host.net_rate = 1'000'000;
  host.net_ceil = 2'000'000;
  ASSERT_TRUE(MergeUpdate(*ParseUpdate(*Json::Parse(R"({"CpuShares":7})")), &host).ok());
  EXPECT_EQ(RatesOf(host), (networks::Rates{1'000'000, 2'000'000}));
  ASSERT_TRUE(MergeUpdate(*ParseUpdate(*Json::Parse(R"({"NetRate":0})")), &host).ok());
  EXPECT_EQ(RatesOf(host), (networks::Rates{2'000'000, 2'000'000}));
  ASSERT_TRUE(MergeUpdate(*ParseUpdate(*Json::Parse(R"({"NetCeil":0})")), &host).ok());
  EXPECT_FALSE(RatesOf(host).limited());
  EXPECT_EQ(ToJson(host).Dump().find("NetRate"), std::string::npos);
}

}  // namespace
}  // namespace gantry::engine
