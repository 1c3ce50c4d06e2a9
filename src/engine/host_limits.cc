// SPDX-License-Identifier: Apache-2.0
#include "engine/host_limits.h"

#include "base/io.h"
#include "base/text.h"
#include "kernel/cgroups.h"

namespace gantry::engine {
namespace {

bool IsOne(const std::string& path) {
  Result<std::string> text = ReadFile(path, 64);
  return text.ok() && text->starts_with("1");
}

void ReadV1(const kernel::CgroupPaths& own, HostLimits* out) {
  auto has = [&](std::string_view controller, const char* file) {
    const std::string& directory = own.Of(controller);
    return !directory.empty() && PathExists(directory + "/" + file);
  };
  out->memory = has("memory", "memory.limit_in_bytes");
  out->swap = has("memory", "memory.memsw.limit_in_bytes");
  out->kernel_memory = has("memory", "memory.kmem.limit_in_bytes");
  out->kernel_memory_tcp = has("memory", "memory.kmem.tcp.limit_in_bytes");
  out->oom_kill_disable = has("memory", "memory.oom_control");
  out->cpu_shares = has("cpu", "cpu.shares");
  // The root cgroup has no quota file of its own, its children do.
  out->cpu_quota =
      has("cpu", "cpu.cfs_quota_us") || PathExists("/proc/sys/kernel/sched_cfs_bandwidth_slice_us");
  out->cpuset = !own.Of("cpuset").empty();
  out->pids = !own.Of("pids").empty();
  out->block_io = has("blkio", "blkio.throttle.read_bps_device");
}

void ReadV2(HostLimits* out) {
  Result<std::string> text =
      ReadFile(std::string(kernel::kCgroupRoot) + "/cgroup.controllers", 4096);
  if (!text.ok()) return;
  for (const std::string& controller : SplitWords(*text, " \n")) {
    if (controller == "memory") out->memory = true;
    if (controller == "cpu") out->cpu_shares = out->cpu_quota = true;
    if (controller == "cpuset") out->cpuset = true;
    if (controller == "pids") out->pids = true;
    if (controller == "io") out->block_io = true;
  }
  // Kernels count swap unless swapaccount=0 says otherwise; the root has no file that tells.
  Result<std::string> command_line = ReadFile("/proc/cmdline", 65536);
  out->swap = out->memory &&
              !(command_line.ok() && command_line->find("swapaccount=0") != std::string::npos);
}

}  // namespace

HostLimits ReadHostLimits() {
  HostLimits out;
  out.unified = kernel::CgroupIsUnified();
  if (out.unified) {
    ReadV2(&out);
  } else {
    Result<kernel::CgroupPaths> own = kernel::CgroupPathsOfProcess(0);
    if (own.ok()) ReadV1(*own, &out);
  }
  out.ipv4_forwarding = IsOne("/proc/sys/net/ipv4/ip_forward");
  return out;
}

std::vector<std::string> WarningsOf(const HostLimits& limits) {
  std::vector<std::string> out;
  auto missing = [&out](bool there, const char* what) {
    if (!there) out.push_back(fmt::format("WARNING: {}", what));
  };
  missing(limits.memory, "No memory limit support");
  missing(limits.swap, "No swap limit support");
  missing(limits.oom_kill_disable || limits.unified, "No oom kill disable support");
  missing(limits.cpu_quota, "No cpu cfs quota support");
  missing(limits.cpu_quota, "No cpu cfs period support");
  missing(limits.cpu_shares, "No cpu shares support");
  missing(limits.cpuset, "No cpuset support");
  missing(limits.pids, "No pids limit support");
  if (!limits.block_io) {
    for (const char* what :
         {"blkio throttle.read_bps_device", "blkio throttle.write_bps_device",
          "blkio throttle.read_iops_device", "blkio throttle.write_iops_device"}) {
      missing(false, fmt::format("No {} support", what).c_str());
    }
  }
  missing(limits.ipv4_forwarding, "IPv4 forwarding is disabled");
  return out;
}

}  // namespace gantry::engine
