// SPDX-License-Identifier: Apache-2.0
#include "containerd/config.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/io.h"
#include "base/random.h"

namespace gantry::containerd {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  ~ConfigTest() override { std::filesystem::remove(path_); }
  Result<> Load(const std::string& text) {
    options_ = Options();
    warnings_.clear();
    TRY(CreateFile(path_, text, 0600));
    return LoadConfig(path_, &options_, &warnings_);
  }
  const std::string path_ = ::testing::TempDir() + "config-" + RandomHex(4) + ".toml";
  Options options_;
  std::vector<std::string> warnings_;
};

TEST_F(ConfigTest, WhatIsDumpedIsReadBack) {
  Options options;
  options.root = "/with \"quotes\"";
  options.address = "/a";
  options.grpc_gid = 7;
  options.max_receive_bytes = 1234;
  options.oom_score = -5;
  options.cgroup = "/daemons/ours";
  options.metrics_address = "127.0.0.1:1";
  options.debug_address = "/d";
  options.log_level = log::Level::kWarning;
  options.log_format = log::Format::kJson;
  options.disabled_plugins = {"io.containerd.grpc.v1.leases"};
  options.runtimes = {{"io.containerd.x.v1", "/shim"}, {"y", "/z"}};
  options.registries.hosts_directory = "/hosts";
  options.registries.parallel_layers = 7;
  options.registries.stall_timeout = std::chrono::seconds(9);
  options.collection = {
      .high_bytes = 20, .low_bytes = 10, .keep_for = {}, .pins = {"a", "b"}, .schedule = {}};
  options.collection.schedule = {.pause_threshold = 0.25,
                                 .deletion_threshold = 3,
                                 .mutation_threshold = 0,
                                 .delay = std::chrono::milliseconds(70),
                                 .startup_delay = std::chrono::milliseconds(1500)};
  options.proxy_snapshotters = {{"other", "/run/other.sock", ""}};
  std::string dumped = DumpConfig(options);
  auto loaded = Load(dumped);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(DumpConfig(options_), dumped);
  EXPECT_TRUE(warnings_.empty());
  EXPECT_EQ(options_.runtimes, options.runtimes);
}

TEST_F(ConfigTest, TheCollectorsScheduleAsContainerdHasIt) {
  ASSERT_TRUE(Load("version = 2\n[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0\n"
                   "deletion_threshold = -1\nschedule_delay = '0ms'\nstartup_delay = 250000000\n")
                  .ok());
  const ScheduleSettings& schedule = options_.collection.schedule;
  EXPECT_EQ(schedule.pause_threshold, 0);
  EXPECT_EQ(schedule.deletion_threshold, 0);
  EXPECT_EQ(schedule.mutation_threshold, 100);
  EXPECT_EQ(schedule.delay, std::chrono::milliseconds(0));
  EXPECT_EQ(schedule.startup_delay, std::chrono::milliseconds(250));
  EXPECT_TRUE(warnings_.empty());
  for (const char* wrong : {"schedule_delay = 'soon'", "schedule_delay = 1.5",
                            "pause_threshold = 'x'", "deletion_threshold = 1.5"}) {
    auto loaded = Load(std::string("version = 2\n[plugins.'io.containerd.gc.v1.scheduler']\n") +
                       wrong + "\n");
    EXPECT_FALSE(loaded.ok()) << wrong;
  }
}

TEST_F(ConfigTest, WarnsOfWhatIsNotUsed) {
  ASSERT_TRUE(Load("version = 2\ntemp = '/t'\n[timeouts]\npath = 'x'\n[nosuch]\na = 1\n"
                   "[plugins.'a.b.c']\nx = 1\ny = 2\n[plugins.'empty.x']\n")
                  .ok());
  EXPECT_EQ(warnings_, (std::vector<std::string>{
                           "configuration: 'temp' is not used by this daemon",
                           "configuration: 'timeouts.path' is not used by this daemon",
                           "configuration: 'nosuch.a' is unknown",
                           "configuration: 'plugins.a.b.c' is not used by this daemon"}));
}

TEST_F(ConfigTest, ProxiesAreSnapshotters) {
  auto loaded = Load("version = 2\n[proxy_plugins.x]\ntype = 'content'\naddress = '/s'\n");
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.error().message().find("'x': type 'content': only snapshot"), std::string::npos);
  EXPECT_FALSE(Load("version = 2\n[proxy_plugins.x]\ntype = 'snapshot'\n").ok());
  EXPECT_FALSE(Load("version = 2\n[gantry.gc]\nhigh_bytes = -1\n").ok());
}

TEST_F(ConfigTest, PluginsAreChecked) {
  Options options;
  options.required_plugins = {"io.containerd.grpc.v1.tasks"};
  EXPECT_TRUE(CheckPlugins(options).ok());
  options.disabled_plugins = {"io.containerd.grpc.v1.cri"};
  EXPECT_TRUE(CheckPlugins(options).ok());
  options.disabled_plugins = options.required_plugins;
  EXPECT_FALSE(CheckPlugins(options).ok());
  options.required_plugins.clear();
  EXPECT_TRUE(CheckPlugins(options).ok());
  options.disabled_plugins = {"io.containerd.event.v1.exchange"};
  EXPECT_FALSE(CheckPlugins(options).ok());
}

}  // namespace
}  // namespace gantry::containerd
