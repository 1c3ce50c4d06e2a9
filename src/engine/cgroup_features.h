// SPDX-License-Identifier: Apache-2.0
//
// What this kernel's cgroups can limit, for GET /info and for the warnings of that, of create and
// of update. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kernel/cgroups.h"

namespace gantry::engine {

struct CgroupFeatures {
  bool unified = false;  // cgroup v2
  bool memory = false;
  bool swap = false;
  bool memory_reservation = false;
  bool kernel_memory = false;
  bool kernel_memory_tcp = false;
  bool oom_kill_disable = false;
  bool swappiness = false;
  bool pids = false;
  bool cpu_shares = false;
  bool cpu_quota = false;
  bool cpu_realtime = false;
  bool cpuset = false;
  bool blkio_weight = false;
  bool blkio_weight_device = false;
  bool blkio_read_bps = false;
  bool blkio_write_bps = false;
  bool blkio_read_iops = false;
  bool blkio_write_iops = false;
  bool net_cls = false;
  bool net_prio = false;
  std::string cpus;  // that the root cgroup may use: "0-3"; "" without cpuset
  std::string mems;
};

// Looks at the files of the given hierarchies' roots. What can't be read counts as missing.
CgroupFeatures FeaturesOf(bool unified, const std::vector<kernel::CgroupHierarchy>& hierarchies);
// This host's.
Result<CgroupFeatures> ReadCgroupFeatures();

// One line for each that is missing, in docker's words.
std::vector<std::string> WarningsOf(const CgroupFeatures& features);

// Whether every number of `wanted` ("0-2,5", cpuset(7)) is in `available`; "" is. An error:
// `wanted` is no such list, or has numbers beyond 8192.
Result<bool> IsInCpuset(std::string_view wanted, std::string_view available);

}  // namespace gantry::engine
