// SPDX-License-Identifier: Apache-2.0
#include "kernel/cgroups.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "kernel/spawn.h"

namespace gantry::kernel {
namespace {

TEST(Cgroups, OwnPathsExist) {
  Result<CgroupPaths> paths = CgroupPathsOfProcess(0);
  ASSERT_TRUE(paths.ok()) << paths.error().message();
  for (const auto& [controller, directory] : paths->directories) {
    EXPECT_TRUE(PathExists(directory + "/cgroup.procs")) << controller << " " << directory;
  }
}

TEST(Cgroups, StatsOfFixtureTrees) {
  char directory[] = "/tmp/gantry-cgroups-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  std::string root = directory;
  auto put = [&](const char* file, const char* text) {
    ASSERT_TRUE(CreateFile(root + "/" + file, text, 0600).ok());
  };
  put("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 7\n");
  put("memory.current", "4096\n");
  put("memory.max", "max\n");
  put("memory.events", "low 0\nmax 9\noom_kill 1\n");
  put("pids.max", "10\n");
  put("io.stat", "8:0 rbytes=1 wbytes=2\n");
  CgroupStats v2 = *ReadCgroupStats({.unified = true, .directories = {{"", root}}});
  EXPECT_EQ(v2.cpu_total_ns, 5000u);
  EXPECT_EQ(v2.throttled_periods, 7u);
  EXPECT_EQ(v2.memory.usage, 4096u);
  EXPECT_FALSE(v2.memory.limit.has_value());
  EXPECT_EQ(v2.memory.fail_count, 9u);
  EXPECT_EQ(v2.pids_limit, 10u);
  ASSERT_EQ(v2.block_io.size(), 2u);
  EXPECT_EQ(v2.block_io[1].operation, "wbytes");
  put("memory.limit_in_bytes", "9223372036854771712\n");
  put("memory.usage_in_bytes", "77\n");
  put("cpuacct.usage_percpu", "1 2 \n");
  CgroupStats v1 = *ReadCgroupStats({.directories = {{"memory", root}, {"cpuacct", root}}});
  EXPECT_EQ(v1.memory.usage, 77u);
  EXPECT_FALSE(v1.memory.limit.has_value());
  EXPECT_EQ(v1.cpu_each_ns, (std::vector<uint64_t>{1, 2}));
  ASSERT_EQ(::system(("rm -r " + root).c_str()), 0);
}

TEST(Cgroups, FreezeKillRemove) {
  Result<CgroupPaths> own = CgroupPathsOfProcess(0);
  ASSERT_TRUE(own.ok());
  CgroupPaths paths{.unified = own->unified, .directories = {}};
  std::string base = own->Of("freezer") + fmt::format("/gantry-test-{}", ::getpid());
  paths.directories[own->unified ? "" : "freezer"] = base;
  if (::mkdir(base.c_str(), 0755) < 0) GTEST_SKIP() << "needs a writable cgroup";
  ASSERT_EQ(::mkdir((base + "/below").c_str(), 0755), 0);
  Result<SpawnedProcess> process =
      Spawn({.program = "/bin/sh", .args = {"sh", "-c", "sleep 100"}, .env = {"PATH=/bin"}});
  ASSERT_TRUE(process.ok());
  ASSERT_TRUE(WriteFile(base + "/below/cgroup.procs", std::to_string(process->pid)).ok());
  EXPECT_EQ(*CgroupProcesses(paths), std::vector<pid_t>{process->pid});
  auto limit = std::chrono::seconds(2);
  Result<> frozen = FreezeCgroup(paths, Freeze::kFreeze, limit);
  EXPECT_TRUE(frozen.ok()) << frozen.error().message();
  EXPECT_TRUE(*CgroupIsFrozen(paths));
  EXPECT_TRUE(FreezeCgroup(paths, Freeze::kThaw, limit).ok());
  EXPECT_TRUE(KillCgroup(paths, limit).ok());
  EXPECT_EQ(WaitExit(process->pidfd)->signal, 9);
  Result<> removed = RemoveCgroup(paths, limit);
  EXPECT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_FALSE(PathExists(base));
}

}  // namespace
}  // namespace gantry::kernel
