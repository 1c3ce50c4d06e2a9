// SPDX-License-Identifier: Apache-2.0
//
// ApplyResourcesV1 of cgroup_setup.h: the files of the kernel's
// Documentation/admin-guide/cgroup-v1.
#include "base/io.h"
#include "runtime/cgroup_setup.h"

namespace gantry::runtime {
namespace {

// The directory of a controller that something is asked of.
Result<std::string> Need(const kernel::CgroupPaths& paths, std::string_view controller,
                         std::string_view field) {
  const std::string& directory = paths.Of(controller);
  if (directory.empty()) {
    return FailedPrecondition("{}: this host has no '{}' cgroup", field, controller);
  }
  return directory;
}

template <typename T>
Result<> Set(const std::string& directory, std::string_view file, const std::optional<T>& value) {
  if (!value) return {};
  return WriteCgroup(directory, file, fmt::format("{}", *value));
}

// memory <= memory+swap must hold after each write, so which one goes first depends on the old
// values: the other order is tried when one fails.
Result<> SetMemoryLimits(const std::string& directory, const oci::Memory& memory) {
  std::optional<int64_t> swap = memory.swap;
  // Unlimited memory with a swap limit would be refused; runc lifts the swap limit too.
  if (memory.limit == -1 && !swap && PathExists(directory + "/memory.memsw.limit_in_bytes")) {
    swap = -1;
  }
  if (memory.limit && swap) {
    Result<> first = Set(directory, "memory.limit_in_bytes", memory.limit);
    TRY(Set(directory, "memory.memsw.limit_in_bytes", swap));
    if (!first.ok()) TRY(Set(directory, "memory.limit_in_bytes", memory.limit));
    return {};
  }
  TRY(Set(directory, "memory.limit_in_bytes", memory.limit));
  return Set(directory, "memory.memsw.limit_in_bytes", swap);
}

Result<> SetMemory(const kernel::CgroupPaths& paths, const oci::Memory& memory) {
  std::string directory = TRY(Need(paths, "memory", "linux.resources.memory"));
  if (memory.check_before_update.value_or(false) && memory.limit && *memory.limit > 0) {
    std::string usage = TRY(ReadFile(directory + "/memory.usage_in_bytes"));
    if (std::strtoll(usage.c_str(), nullptr, 10) > *memory.limit) {
      return FailedPrecondition("linux.resources.memory.limit: {} is below the current usage",
                                *memory.limit);
    }
  }
  TRY(SetMemoryLimits(directory, memory));
  // limit_in_bytes of the kernel's own memory is gone since 6.x; it was always inside of `limit`.
  if (memory.kernel && PathExists(directory + "/memory.kmem.limit_in_bytes")) {
    Result<> set = Set(directory, "memory.kmem.limit_in_bytes", memory.kernel);
    if (!set.ok() && set.error().error_number() != EOPNOTSUPP) return set;
  }
  TRY(Set(directory, "memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp));
  TRY(Set(directory, "memory.soft_limit_in_bytes", memory.reservation));
  // -1 is docker's "as it is".
  if (memory.swappiness && *memory.swappiness <= 100) {
    TRY(Set(directory, "memory.swappiness", memory.swappiness));
  }
  if (memory.disable_oom_killer.value_or(false)) {
    TRY(WriteCgroup(directory, "memory.oom_control", "1"));
  }
  return {};
}

Result<> SetCpu(const kernel::CgroupPaths& paths, const oci::Cpu& cpu) {
  bool any = cpu.shares || cpu.quota || cpu.period || cpu.burst || cpu.realtime_runtime ||
             cpu.realtime_period || cpu.idle;
  if (any) {
    std::string directory = TRY(Need(paths, "cpu", "linux.resources.cpu"));
    if (cpu.shares.value_or(0) != 0) TRY(Set(directory, "cpu.shares", cpu.shares));
    // A burst is at most the quota, so which one goes first depends on the old values.
    Result<> burst = Set(directory, "cpu.cfs_burst_us", cpu.burst);
    if (cpu.period.value_or(0) != 0) {
      // A shorter period with the old quota may be above what the parent allows.
      Result<> first = Set(directory, "cpu.cfs_period_us", cpu.period);
      if (!first.ok() && cpu.quota.value_or(0) != 0) {
        TRY(Set(directory, "cpu.cfs_quota_us", cpu.quota));
        first = Set(directory, "cpu.cfs_period_us", cpu.period);
      }
      TRY(std::move(first));
    }
    if (cpu.quota.value_or(0) != 0) TRY(Set(directory, "cpu.cfs_quota_us", cpu.quota));
    if (!burst.ok()) TRY(Set(directory, "cpu.cfs_burst_us", cpu.burst));
    if (cpu.realtime_period.value_or(0) != 0) {
      TRY(Set(directory, "cpu.rt_period_us", cpu.realtime_period));
    }
    if (cpu.realtime_runtime.value_or(0) != 0) {
      TRY(Set(directory, "cpu.rt_runtime_us", cpu.realtime_runtime));
    }
    TRY(Set(directory, "cpu.idle", cpu.idle));
  }
  if (!cpu.cpus.empty() || !cpu.mems.empty()) {
    std::string directory = TRY(Need(paths, "cpuset", "linux.resources.cpu.cpus"));
    if (!cpu.cpus.empty()) TRY(WriteCgroup(directory, "cpuset.cpus", cpu.cpus));
    if (!cpu.mems.empty()) TRY(WriteCgroup(directory, "cpuset.mems", cpu.mems));
  }
  return {};
}

Result<> SetThrottle(const std::string& directory, const std::string& file,
                     const std::vector<oci::ThrottleDevice>& devices) {
  for (const oci::ThrottleDevice& device : devices) {
    TRY(WriteCgroup(directory, file,
                    fmt::format("{}:{} {}", device.major, device.minor, device.rate)));
  }
  return {};
}

Result<> SetBlockIo(const kernel::CgroupPaths& paths, const oci::BlockIo& block) {
  std::string directory = TRY(Need(paths, "blkio", "linux.resources.blockIO"));
  // The weight's file is CFQ's or, since 5.0, BFQ's.
  std::string prefix = PathExists(directory + "/blkio.weight") ? "blkio." : "blkio.bfq.";
  if (block.weight.value_or(0) != 0) TRY(Set(directory, prefix + "weight", block.weight));
  if (block.leaf_weight.value_or(0) != 0) {
    TRY(Set(directory, "blkio.leaf_weight", block.leaf_weight));
  }
  for (const oci::WeightDevice& device : block.weight_device) {
    if (device.weight.value_or(0) != 0) {
      TRY(WriteCgroup(directory, prefix + "weight_device",
                      fmt::format("{}:{} {}", device.major, device.minor, *device.weight)));
    }
    if (device.leaf_weight.value_or(0) != 0) {
      TRY(WriteCgroup(directory, "blkio.leaf_weight_device",
                      fmt::format("{}:{} {}", device.major, device.minor, *device.leaf_weight)));
    }
  }
  TRY(SetThrottle(directory, "blkio.throttle.read_bps_device", block.throttle_read_bps_device));
  TRY(SetThrottle(directory, "blkio.throttle.write_bps_device", block.throttle_write_bps_device));
  TRY(SetThrottle(directory, "blkio.throttle.read_iops_device", block.throttle_read_iops_device));
  return SetThrottle(directory, "blkio.throttle.write_iops_device",
                     block.throttle_write_iops_device);
}

std::string Field(const std::optional<int64_t>& number) {
  return number && *number >= 0 ? fmt::format("{}", *number) : "*";
}

// One file system call a rule; a line is at most that (Documentation/…/devices.rst).
Result<> SetDevices(const kernel::CgroupPaths& paths, const std::vector<oci::DeviceRule>& rules) {
  if (rules.empty()) return {};
  std::string directory = TRY(Need(paths, "devices", "linux.resources.devices"));
  bool everything = false;  // "a" was allowed last: single allows add nothing
  for (const oci::DeviceRule& rule : EffectiveDeviceRules(rules)) {
    bool all = rule.type.empty() || rule.type == "a";
    std::string line =
        all ? "a"
            : fmt::format("{} {}:{} {}", rule.type, Field(rule.major), Field(rule.minor),
                          rule.access.empty() ? "rwm" : rule.access);
    if (everything && rule.allow) continue;
    if (all) everything = rule.allow;
    TRY(WriteCgroup(directory, rule.allow ? "devices.allow" : "devices.deny", line));
  }
  return {};
}

Result<> SetNetwork(const kernel::CgroupPaths& paths, const oci::NetworkResources& network) {
  if (network.class_id) {
    std::string directory = TRY(Need(paths, "net_cls", "linux.resources.network.classID"));
    TRY(Set(directory, "net_cls.classid", network.class_id));
  }
  for (const oci::InterfacePriority& priority : network.priorities) {
    std::string directory = TRY(Need(paths, "net_prio", "linux.resources.network.priorities"));
    TRY(WriteCgroup(directory, "net_prio.ifpriomap",
                    fmt::format("{} {}", priority.name, priority.priority)));
  }
  return {};
}

}  // namespace

Result<> ApplyResourcesV1(const kernel::CgroupPaths& paths, const oci::Resources& resources,
                          Devices devices) {
  if (resources.memory) TRY(SetMemory(paths, *resources.memory));
  if (resources.cpu) TRY(SetCpu(paths, *resources.cpu));
  if (resources.pids && resources.pids->limit != 0) {
    std::string directory = TRY(Need(paths, "pids", "linux.resources.pids"));
    TRY(WriteCgroup(directory, "pids.max",
                    resources.pids->limit > 0 ? fmt::format("{}", resources.pids->limit) : "max"));
  }
  if (resources.block_io) TRY(SetBlockIo(paths, *resources.block_io));
  for (const oci::HugepageLimit& limit : resources.hugepage_limits) {
    std::string directory = TRY(Need(paths, "hugetlb", "linux.resources.hugepageLimits"));
    std::string value = fmt::format("{}", limit.limit);
    TRY(WriteCgroup(directory, fmt::format("hugetlb.{}.limit_in_bytes", limit.page_size), value));
    // Since 5.7; counts at mmap, where the limit is an error instead of a SIGBUS later.
    std::string reserved = fmt::format("hugetlb.{}.rsvd.limit_in_bytes", limit.page_size);
    if (PathExists(directory + "/" + reserved)) TRY(WriteCgroup(directory, reserved, value));
  }
  if (resources.network) TRY(SetNetwork(paths, *resources.network));
  for (const auto& [device, rdma] : resources.rdma) {
    std::string directory = TRY(Need(paths, "rdma", "linux.resources.rdma"));
    if (rdma.hca_handles) {
      TRY(WriteCgroup(directory, "rdma.max",
                      fmt::format("{} hca_handle={}", device, *rdma.hca_handles)));
    }
    if (rdma.hca_objects) {
      TRY(WriteCgroup(directory, "rdma.max",
                      fmt::format("{} hca_object={}", device, *rdma.hca_objects)));
    }
  }
  if (!resources.unified.empty()) {
    return FailedPrecondition("linux.resources.unified: this host's cgroups are version 1");
  }
  if (devices == Devices::kApply) TRY(SetDevices(paths, resources.devices));
  return {};
}

}  // namespace gantry::runtime
