// SPDX-License-Identifier: Apache-2.0
//
// cgroups as they are: where a process is, what it has used, who is in there, freezing and killing.
// v1 (also hybrid) and v2 alike. Making cgroups and setting limits is the runtime's part. Any
// thread; all state is the kernel's.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::kernel {

inline constexpr char kCgroupRoot[] = "/sys/fs/cgroup";

// True when /sys/fs/cgroup is one cgroup2 file system; false: v1, perhaps with v2 beside it.
bool CgroupIsUnified();

struct CgroupHierarchy {
  std::string mount_point;               // "/sys/fs/cgroup/cpu"
  std::vector<std::string> controllers;  // "cpu", "name=systemd"; empty: v2
  std::string own_path;  // of the process asked about, below the mount point: "/a/b"
};

// The hierarchies with controllers (on v2: the one), from /proc/PID/cgroup; without those that are
// mounted nowhere, and on v1 without the hybrid's v2. pid 0: the caller.
Result<std::vector<CgroupHierarchy>> CgroupHierarchies(pid_t pid);

// One place in all hierarchies. Key: the controller, "" on v2. Value: the absolute directory.
struct CgroupPaths {
  bool unified = false;
  std::map<std::string, std::string> directories;

  // The directory that has this controller, or "".
  const std::string& Of(std::string_view controller) const;
  // The directory to list and kill processes by.
  const std::string& Main() const;
};

Result<CgroupPaths> CgroupPathsOfProcess(pid_t pid);

struct BlockIoEntry {
  std::string file;  // v1: "blkio.throttle.io_service_bytes", …; v2: "io.stat"
  uint64_t major = 0;
  uint64_t minor = 0;
  std::string operation;  // v1: "Read", "Write", …; v2: "rbytes", "wios", …
  uint64_t value = 0;
};

struct MemoryUsage {
  uint64_t usage = 0;  // bytes
  uint64_t max_usage = 0;
  std::optional<uint64_t> limit;  // none: unlimited
  uint64_t fail_count = 0;        // v2: events.max
};

struct CgroupStats {
  uint64_t pids_current = 0;
  std::optional<uint64_t> pids_limit;  // none: unlimited
  uint64_t cpu_total_ns = 0;
  uint64_t cpu_user_ns = 0;
  uint64_t cpu_kernel_ns = 0;
  std::vector<uint64_t> cpu_each_ns;  // v1 only
  uint64_t throttle_periods = 0;
  uint64_t throttled_periods = 0;
  uint64_t throttled_ns = 0;
  MemoryUsage memory;
  MemoryUsage swap;  // v1: memory and swap together; v2: swap alone
  MemoryUsage kernel;
  MemoryUsage kernel_tcp;
  std::map<std::string, uint64_t> memory_stat;    // memory.stat
  std::map<std::string, uint64_t> memory_events;  // v2 memory.events; v1 "oom_kill"
  std::vector<BlockIoEntry> block_io;
  std::map<std::string, MemoryUsage> hugetlb;  // by page size: "2MB"
};

// What is missing stays zero: a controller need not be there.
Result<CgroupStats> ReadCgroupStats(const CgroupPaths& paths);

// Processes in the cgroup and below it.
Result<std::vector<pid_t>> CgroupProcesses(const CgroupPaths& paths);

// Sends SIGKILL to all of them; again, until none is new (a fork may race) or the time is up. On v2
// it is one write to cgroup.kill. Does not wait for them to be gone.
Result<> KillCgroup(const CgroupPaths& paths, std::chrono::milliseconds limit);
// Sends `signal` once to each process found.
Result<> SignalCgroup(const CgroupPaths& paths, int signal);

enum class MissingCgroup : uint8_t { kRefuse, kMake };
// Moves the caller to `path` ("/a/b") in each hierarchy, or in each that has it; kNotFound when
// none has. kMake leaves v1's cpusets alone: a new one takes no process before it has processors.
Result<> JoinCgroup(const std::string& path, MissingCgroup missing);

enum class Freeze : uint8_t { kFreeze, kThaw };
// Waits until the kernel says that it is done.
Result<> FreezeCgroup(const CgroupPaths& paths, Freeze what, std::chrono::milliseconds limit);
Result<bool> CgroupIsFrozen(const CgroupPaths& paths);

// Removes the directories, those below them first. What is busy is tried again until the time is
// up: a killed process leaves its cgroup a moment after it is reaped.
Result<> RemoveCgroup(const CgroupPaths& paths, std::chrono::milliseconds limit);

}  // namespace gantry::kernel
