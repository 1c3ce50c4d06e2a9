// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/settings_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/io.h"
#include "cmd/gantryd/options.h"
#include "cmd/gantryd/reload.h"

namespace gantry::gantryd {
namespace {

using testing::HasSubstr;

class SettingsFilesTest : public testing::Test {
 protected:
  SettingsFilesTest() {
    std::string pattern = testing::TempDir() + "settings-XXXXXX";
    top_ = ::mkdtemp(pattern.data());
  }
  ~SettingsFilesTest() override { std::filesystem::remove_all(top_); }

  void Put(const std::string& path, const std::string& text) {
    ASSERT_TRUE(MakeDirectories(std::filesystem::path(top_ + path).parent_path(), 0755).ok());
    ASSERT_TRUE(CreateFile(top_ + path, text, 0644).ok());
  }

  std::string top_;
};

TEST_F(SettingsFilesTest, TakesOthersFromBothDirectories) {
  Put("/containerd/one.example/hosts.toml", "of containerd");
  Put("/docker/one.example/hosts.toml", "of docker");
  Put("/docker/two.example/ca.crt", "of docker");
  Put("/docker/mirror.example:5000/ca.crt", "a CA");
  Put("/docker/mirror.example:5000/client.cert", "a certificate");
  std::string containerd = top_ + "/containerd";
  std::string docker = top_ + "/docker";
  std::string_view bases[] = {containerd, docker};
  engine::Settings settings;
  settings.registry_mirrors = {"https://mirror.example:5000/"};
  ASSERT_TRUE(WriteRegistryHosts(top_ + "/run", bases, &settings).ok());
  const std::string& made = settings.registry_hosts_directory;
  EXPECT_EQ(*ReadFile(made + "/one.example/hosts.toml"), "of containerd");
  EXPECT_EQ(*ReadFile(made + "/two.example/ca.crt"), "of docker");
  std::string hosts = *ReadFile(made + "/docker.io/hosts.toml");
  EXPECT_THAT(hosts, HasSubstr("[host.\"https://mirror.example:5000\"]"));
  EXPECT_THAT(hosts, HasSubstr("ca = [\"" + docker + "/mirror.example:5000/ca.crt\"]"));
  EXPECT_THAT(hosts, HasSubstr("/client.cert\", \"" + docker + "/mirror.example:5000/client.key"));
}

TEST_F(SettingsFilesTest, OurDaemonLooksAtTheDirectoriesEachTime) {
  Options options;
  options.state = top_;
  options.root = top_;
  options.settings.insecure_registries = {"one.example"};
  ASSERT_TRUE(PrepareSettings(&options).ok());
  EXPECT_THAT(options.settings.registry_hosts_directory,
              HasSubstr(":/etc/containerd/certs.d:/etc/docker/certs.d"));
  options.containerd = "/run/containerd/containerd.sock";
  ASSERT_TRUE(PrepareSettings(&options).ok());
  EXPECT_EQ(options.settings.registry_hosts_directory.find(':'), std::string::npos);
}

TEST_F(SettingsFilesTest, NeedsNoDirectoryWithoutSettings) {
  engine::Settings settings;
  ASSERT_TRUE(WriteRegistryHosts(top_, {}, &settings).ok());
  EXPECT_EQ(settings.registry_hosts_directory, "");
}

}  // namespace
}  // namespace gantry::gantryd
