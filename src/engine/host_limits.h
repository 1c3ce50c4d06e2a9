// SPDX-License-Identifier: Apache-2.0
//
// What this kernel can limit and forward, for GET /info and its warnings. Any thread.
#pragma once

#include <string>
#include <vector>

namespace gantry::engine {

struct HostLimits {
  bool unified = false;  // cgroup v2
  bool memory = false;
  bool swap = false;
  bool kernel_memory = false;
  bool kernel_memory_tcp = false;
  bool oom_kill_disable = false;
  bool cpu_shares = false;
  bool cpu_quota = false;
  bool cpuset = false;
  bool pids = false;
  bool block_io = false;  // weights and throttles
  bool ipv4_forwarding = false;
};

HostLimits ReadHostLimits();

// One line for each that is missing, in docker's words.
std::vector<std::string> WarningsOf(const HostLimits& limits);

}  // namespace gantry::engine
