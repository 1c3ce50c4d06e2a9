// SPDX-License-Identifier: Apache-2.0
#include "oci/image_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::oci {
namespace {

using testing::HasSubstr;

std::string Digest64(char c) { return "sha256:" + std::string(64, c); }

std::string DescriptorText(std::string_view type, char c, std::string_view more = "") {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":7{}}})", type, Digest64(c), more);
}

TEST(ImageSpec, Manifest) {
  std::string text =
      fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{},{}]}})",
                  kOciManifest, DescriptorText(kOciConfig, 'c'), DescriptorText(kOciLayerGzip, '1'),
                  DescriptorText(kOciLayerZstd, '2'));
  auto manifest = ParseManifest(text, "");
  ASSERT_TRUE(manifest.ok()) << manifest.error().message();
  EXPECT_EQ(manifest->layers.size(), 2u);
  EXPECT_EQ(manifest->config.digest.text(), Digest64('c'));
  EXPECT_EQ(ToJson(*manifest).Dump(), text);
  EXPECT_THAT(ParseManifest(text, kDockerManifest).error().message(), HasSubstr("came as"));
  EXPECT_FALSE(ParseIndex(text, "").ok());
}

TEST(ImageSpec, RefusesAmbiguousAndBrokenDocuments) {
  std::string config = DescriptorText(kOciConfig, 'c');
  std::string both =
      fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}})", config);
  EXPECT_FALSE(ParseManifest(both, "").ok());
  EXPECT_FALSE(ParseIndex(both, "").ok());
  EXPECT_EQ(ParseManifest(R"({"schemaVersion":1})", "").error().kind(), ErrorKind::kUnimplemented);
  EXPECT_FALSE(ParseManifest(R"({"schemaVersion":2})", "").ok());
  EXPECT_FALSE(ParseManifest("[]", "").ok());
  EXPECT_FALSE(ParseManifest("{", "").ok());
  auto bad = ParseManifest(
      R"({"schemaVersion":2,"config":{"digest":"md5:1","size":1,"mediaType":"x"}})", "");
  EXPECT_THAT(bad.error().message(), HasSubstr("manifest.config.digest"));
  auto negative = ParseManifest(
      fmt::format(R"({{"schemaVersion":2,"config":{{"digest":"{}","size":-1}}}})", Digest64('a')),
      "");
  EXPECT_THAT(negative.error().message(), HasSubstr("manifest.config.size"));
}

TEST(ImageSpec, SelectsThePlatform) {
  auto entry = [](char c, std::string_view os, std::string_view arch, std::string_view variant) {
    return DescriptorText(
        kOciManifest, c,
        fmt::format(R"(,"platform":{{"os":"{}","architecture":"{}","variant":"{}"}})", os, arch,
                    variant));
  };
  std::string text = fmt::format(
      R"({{"schemaVersion":2,"manifests":[{},{},{},{},{}]}})", entry('1', "linux", "arm", "v6"),
      entry('2', "linux", "arm", "v7"), entry('3', "linux", "amd64", ""),
      entry('4', "unknown", "unknown", ""), entry('5', "linux", "arm64", "v8"));
  auto index = ParseIndex(text, kDockerManifestList);
  ASSERT_TRUE(index.ok()) << index.error().message();
  auto pick = [&](std::string_view platform) {
    auto found = SelectPlatform(*index, *ParsePlatform(platform));
    return found.ok() ? found->digest.text() : found.error().message();
  };
  EXPECT_EQ(pick("linux/amd64"), Digest64('3'));
  EXPECT_EQ(pick("linux/x86_64"), Digest64('3'));
  EXPECT_EQ(pick("linux/amd64/v3"), Digest64('3'));
  EXPECT_EQ(pick("linux/arm64"), Digest64('5'));
  EXPECT_EQ(pick("linux/arm"), Digest64('2'));
  EXPECT_EQ(pick("linux/arm/v6"), Digest64('1'));
  EXPECT_THAT(pick("linux/s390x"), HasSubstr("linux/arm/v6, linux/arm/v7, linux/amd64"));
  EXPECT_FALSE(ParsePlatform("a/b/c/d").ok());
  EXPECT_FALSE(ParsePlatform("").ok());
  EXPECT_FALSE(ParsePlatform("linux/").ok());
}

TEST(ImageSpec, Config) {
  std::string text = fmt::format(
      R"({{"created":"2020-01-01T00:00:00Z","architecture":"amd64","os":"linux",)"
      R"("config":{{"User":"1:2","ExposedPorts":{{"53/udp":{{}},"80/tcp":{{}}}},"Env":["A=b"],)"
      R"("Entrypoint":["/e"],"Cmd":["c"],"Healthcheck":{{"Test":["CMD","x"],"Interval":5}},)"
      R"("Volumes":{{"/v":{{}}}},"WorkingDir":"/w","Labels":{{"k":"v"}},"StopSignal":"SIGINT"}},)"
      R"("rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created_by":"x","empty_layer":true}}]}})",
      Digest64('d'));
  auto config = ParseImageConfig(text);
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->config.exposed_ports, (std::vector<std::string>{"53/udp", "80/tcp"}));
  EXPECT_TRUE(config->config.cmd.has_value());
  EXPECT_EQ(config->config.healthcheck->interval_nanos, 5);
  EXPECT_EQ(config->diff_ids.size(), 1u);
  EXPECT_EQ(ToJson(*config).Dump(), text);
  // Of what has no words nothing is written.
  auto none = ParseImageConfig(R"({"config":{"Cmd":[],"Entrypoint":[]}})");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(ToJson(*none)["config"].size(), 0u);
  // docker writes null for what is not set.
  EXPECT_TRUE(
      ParseImageConfig(R"({"config":{"Cmd":null,"Labels":null,"Volumes":null,"OnBuild":null}})")
          .ok());
}

TEST(ImageSpec, ChainIds) {
  // Computed with: printf '%s %s' A B | sha256sum
  std::vector<formats::Digest> diff_ids{*formats::Digest::Parse(Digest64('1')),
                                        *formats::Digest::Parse(Digest64('2'))};
  auto chain = ChainIds(diff_ids);
  ASSERT_EQ(chain.size(), 2u);
  EXPECT_EQ(chain[0], diff_ids[0]);
  EXPECT_EQ(chain[1], formats::Digest::Of(Digest64('1') + " " + Digest64('2')));
}

}  // namespace
}  // namespace gantry::oci
