// SPDX-License-Identifier: Apache-2.0
#include "engine/config_checks.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

// A host that can do everything, with four processors.
HostFacts Capable() {
  HostFacts facts;
  CgroupFeatures& all = facts.cgroups;
  for (bool* feature :
       {&all.memory, &all.swap, &all.memory_reservation, &all.oom_kill_disable, &all.swappiness,
        &all.pids, &all.cpu_shares, &all.cpu_quota, &all.cpu_realtime, &all.cpuset,
        &all.blkio_weight, &all.blkio_weight_device, &all.blkio_read_bps, &all.blkio_write_bps,
        &all.blkio_read_iops, &all.blkio_write_iops, &all.net_cls, &all.net_prio}) {
    *feature = true;
  }
  all.cpus = "0-3";
  all.mems = "0";
  facts.cpus = 4;
  facts.runtimes = {"gantry"};
  return facts;
}

std::string ErrorOf(HostConfig host, ContainerConfig config = {}, HostFacts facts = Capable()) {
  Result<Warnings> checked = CheckCreate(facts, &config, &host);
  return checked.ok() ? "" : checked.error().message();
}

TEST(ConfigChecksTest, NothingIsWrongWithNothing) {
  ContainerConfig config;
  HostConfig host;
  Result<Warnings> warnings = CheckCreate(Capable(), &config, &host);
  ASSERT_TRUE(warnings.ok()) << warnings.error().message();
  EXPECT_TRUE(warnings->empty());
}

TEST(ConfigChecksTest, LimitsThatContradict) {
  HostConfig host;
  host.memory = 1 << 20;
  EXPECT_EQ(ErrorOf(host), "Minimum memory limit allowed is 6MB");
  host.memory = 8 << 20;
  host.memory_swap = 7 << 20;
  EXPECT_NE(ErrorOf(host), "");
  host = {};
  host.nano_cpus = 5'000'000'000;
  EXPECT_EQ(ErrorOf(host),
            "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available");
  host = {};
  host.cpuset_cpus = "2-4";
  EXPECT_EQ(ErrorOf(host), "Requested CPUs are not available - requested 2-4, available: 0-3");
}

TEST(ConfigChecksTest, Rates) {
  HostConfig host;
  host.net_rate = 8'000;
  EXPECT_EQ(ErrorOf(host), "invalid NetRate: 8000 bit/s, the minimum is 16000");
  host.net_rate = -1;
  EXPECT_NE(ErrorOf(host), "");
  host.net_rate = 1'000'000;
  EXPECT_EQ(ErrorOf(host), "");
  host.net_ceil = 500'000;
  EXPECT_EQ(ErrorOf(host), "invalid NetCeil: 500000 bit/s is less than NetRate, which is 1000000");
  host.net_ceil = 1'000'000;
  EXPECT_EQ(ErrorOf(host), "");
  host.network_mode = "host";
  EXPECT_EQ(ErrorOf(host), "conflicting options: net rates and the host network mode");
  host.network_mode = "container:a";
  EXPECT_EQ(ErrorOf(host), "conflicting options: net rates and the container type network mode");
}

TEST(ConfigChecksTest, WhatTheKernelLacksIsTakenOut) {
  ContainerConfig config;
  HostConfig host;
  host.memory = 64 << 20;
  host.memory_swap = 128 << 20;
  host.memory_swappiness = 5;
  host.oom_kill_disable = true;
  host.pids_limit = 5;
  host.cpu_shares = 5;
  host.cpu_quota = 5000;
  host.cpuset_cpus = "0";
  host.blkio_weight = 5;
  host.blkio_device_read_bps = {{"/dev/x", 1}};
  host.net_class = 0x100001;
  host.net_priorities = {{"eth0", 5}};
  Result<Warnings> warnings = CheckCreate(HostFacts{}, &config, &host);
  ASSERT_TRUE(warnings.ok()) << warnings.error().message();
  EXPECT_EQ(warnings->size(), 11u);
  EXPECT_EQ(host.memory, 0);
  EXPECT_EQ(host.memory_swap, -1);
  EXPECT_FALSE(host.memory_swappiness || host.oom_kill_disable || host.pids_limit);
  EXPECT_EQ(host.cpu_shares + host.cpu_quota + host.blkio_weight, 0);
  EXPECT_TRUE(host.cpuset_cpus.empty() && host.blkio_device_read_bps.empty());
  EXPECT_EQ(host.net_class, 0u);
  EXPECT_TRUE(host.net_priorities.empty());
}

TEST(ConfigChecksTest, WorkingDirectoriesAreCleaned) {
  for (auto [asked, clean] : {std::pair("/a//b/./c/../", "/a/b"), {"/", "/"}, {"/..", "/"}}) {
    ContainerConfig config;
    config.working_dir = asked;
    HostConfig host;
    ASSERT_TRUE(CheckCreate(Capable(), &config, &host).ok());
    EXPECT_EQ(config.working_dir, clean);
  }
  ContainerConfig config;
  config.working_dir = "relative";
  EXPECT_NE(ErrorOf({}, config), "");
}

TEST(ConfigChecksTest, UsersAreRemapped) {
  HostFacts facts = Capable();
  facts.remaps_users = true;
  HostConfig host;
  host.privileged = true;
  EXPECT_NE(ErrorOf(host, {}, facts), "");
  host.userns_mode = "host";
  EXPECT_EQ(ErrorOf(host, {}, facts), "");
}

TEST(ConfigChecksTest, Runtimes) {
  HostConfig host;
  for (const char* good : {"", "gantry", "io.containerd.runc.v2"}) {
    host.runtime = good;
    EXPECT_EQ(ErrorOf(host), "") << good;
  }
  for (const char* bad : {"nosuch", "/bin/sh", "a/b.c", ".x"}) {
    host.runtime = bad;
    EXPECT_EQ(ErrorOf(host), std::string("unknown or invalid runtime name: ") + bad);
  }
}

}  // namespace
}  // namespace gantry::engine
