// SPDX-License-Identifier: Apache-2.0
//
// ApplyResourcesV2 of cgroup_setup.h: Documentation/admin-guide/cgroup-v2.rst. Values of v1 are
// converted as the other runtimes do, so that the same options mean the same.
#include <algorithm>

#include "base/io.h"
#include "runtime/cgroup_setup.h"

namespace gantry::runtime {
namespace {

std::string Max(int64_t value) { return value < 0 ? "max" : fmt::format("{}", value); }

Result<> SetMemory(const std::string& directory, const oci::Memory& memory) {
  if (memory.check_before_update.value_or(false) && memory.limit && *memory.limit > 0) {
    std::string usage = TRY(ReadFile(directory + "/memory.current"));
    if (std::strtoll(usage.c_str(), nullptr, 10) > *memory.limit) {
      return FailedPrecondition("linux.resources.memory.limit: {} is below the current usage",
                                *memory.limit);
    }
  }
  if (std::optional<int64_t> swap = TRY(SwapAlone(memory))) {
    Result<> set = WriteCgroup(directory, "memory.swap.max", Max(*swap));
    // A kernel without swap accounting has no such file; no swap was asked for, or none matters.
    if (!set.ok() && !(set.error().error_number() == ENOENT && *swap <= 0)) return set;
  }
  if (memory.limit && *memory.limit != 0) {
    TRY(WriteCgroup(directory, "memory.max", Max(*memory.limit)));
  }
  if (memory.reservation && *memory.reservation != 0) {
    TRY(WriteCgroup(directory, "memory.low", Max(*memory.reservation)));
  }
  return {};
}

Result<> SetCpu(const std::string& directory, const oci::Cpu& cpu) {
  if (cpu.idle) TRY(WriteCgroup(directory, "cpu.idle", fmt::format("{}", *cpu.idle)));
  if (cpu.shares.value_or(0) != 0 && cpu.idle.value_or(0) == 0) {
    TRY(WriteCgroup(directory, "cpu.weight", fmt::format("{}", CpuWeightOfShares(*cpu.shares))));
  }
  // A burst is at most the quota, so which one goes first depends on the old values.
  std::optional<Result<>> burst;
  if (cpu.burst) burst = WriteCgroup(directory, "cpu.max.burst", fmt::format("{}", *cpu.burst));
  if (cpu.quota.value_or(0) != 0 || cpu.period.value_or(0) != 0) {
    std::string quota = cpu.quota.value_or(0) > 0 ? fmt::format("{}", *cpu.quota) : "max";
    std::string period = fmt::format("{}", cpu.period.value_or(0) != 0 ? *cpu.period : 100000);
    TRY(WriteCgroup(directory, "cpu.max", quota + " " + period));
  }
  if (burst && !burst->ok()) {
    TRY(WriteCgroup(directory, "cpu.max.burst", fmt::format("{}", *cpu.burst)));
  }
  if (cpu.realtime_period.value_or(0) != 0 || cpu.realtime_runtime.value_or(0) != 0) {
    return FailedPrecondition("linux.resources.cpu.realtimeRuntime: cgroup version 2 has no such");
  }
  if (!cpu.cpus.empty()) TRY(WriteCgroup(directory, "cpuset.cpus", cpu.cpus));
  if (!cpu.mems.empty()) TRY(WriteCgroup(directory, "cpuset.mems", cpu.mems));
  return {};
}

Result<> SetBlockIo(const std::string& directory, const oci::BlockIo& block) {
  // BFQ's own file takes v1's range.
  bool bfq = PathExists(directory + "/io.bfq.weight");
  const char* file = bfq ? "io.bfq.weight" : "io.weight";
  auto weight = [&](uint64_t value) { return bfq ? value : IoWeightOf(value); };
  if (block.weight.value_or(0) != 0) {
    TRY(WriteCgroup(directory, file, fmt::format("{}", weight(*block.weight))));
  }
  for (const oci::WeightDevice& device : block.weight_device) {
    if (device.weight.value_or(0) == 0) continue;
    TRY(WriteCgroup(directory, file,
                    fmt::format("{}:{} {}", device.major, device.minor, weight(*device.weight))));
  }
  auto throttle = [&](const std::vector<oci::ThrottleDevice>& devices,
                      std::string_view key) -> Result<> {
    for (const oci::ThrottleDevice& device : devices) {
      TRY(WriteCgroup(directory, "io.max",
                      fmt::format("{}:{} {}={}", device.major, device.minor, key, device.rate)));
    }
    return {};
  };
  TRY(throttle(block.throttle_read_bps_device, "rbps"));
  TRY(throttle(block.throttle_write_bps_device, "wbps"));
  TRY(throttle(block.throttle_read_iops_device, "riops"));
  return throttle(block.throttle_write_iops_device, "wiops");
}

Result<> SetHugepages(const std::string& directory, const oci::HugepageLimit& limit) {
  std::string value = fmt::format("{}", limit.limit);
  TRY(WriteCgroup(directory, fmt::format("hugetlb.{}.max", limit.page_size), value));
  // Since 5.7; counts at mmap, where the limit is an error instead of a SIGBUS later.
  std::string reserved = fmt::format("hugetlb.{}.rsvd.max", limit.page_size);
  if (!PathExists(directory + "/" + reserved)) return {};
  return WriteCgroup(directory, reserved, value);
}

Result<> SetAll(const std::string& directory, const oci::Resources& resources, Devices devices) {
  if (resources.memory) TRY(SetMemory(directory, *resources.memory));
  if (resources.cpu) TRY(SetCpu(directory, *resources.cpu));
  if (resources.pids && resources.pids->limit != 0) {
    TRY(WriteCgroup(directory, "pids.max", Max(resources.pids->limit)));
  }
  if (resources.block_io) TRY(SetBlockIo(directory, *resources.block_io));
  for (const oci::HugepageLimit& limit : resources.hugepage_limits) {
    TRY(SetHugepages(directory, limit));
  }
  for (const auto& [device, rdma] : resources.rdma) {
    if (rdma.hca_handles) {
      TRY(WriteCgroup(directory, "rdma.max",
                      fmt::format("{} hca_handle={}", device, *rdma.hca_handles)));
    }
    if (rdma.hca_objects) {
      TRY(WriteCgroup(directory, "rdma.max",
                      fmt::format("{} hca_object={}", device, *rdma.hca_objects)));
    }
  }
  if (resources.network &&
      (resources.network->class_id.value_or(0) != 0 || !resources.network->priorities.empty())) {
    return FailedPrecondition("linux.resources.network: cgroup version 2 has no such");
  }
  if (devices == Devices::kApply && !resources.devices.empty()) {
    TRY(AttachDeviceProgram(directory, EffectiveDeviceRules(resources.devices)));
  }
  for (const auto& [file, value] : resources.unified) TRY(WriteCgroup(directory, file, value));
  return {};
}

// A number of a cgroup's file; none for "max".
Result<std::optional<int64_t>> ReadLimit(const std::string& directory, std::string_view file) {
  std::string text = TRY(ReadFile(fmt::format("{}/{}", directory, file)));
  if (text.starts_with("max")) return std::optional<int64_t>();
  return std::optional<int64_t>(std::strtoll(text.c_str(), nullptr, 10));
}

}  // namespace

Result<std::optional<int64_t>> SwapAlone(const oci::Memory& memory) {
  int64_t both = memory.swap.value_or(0);
  if (both < 0 || (both == 0 && memory.limit.value_or(0) == -1)) return std::optional<int64_t>(-1);
  if (both == 0) return std::optional<int64_t>();
  if (memory.limit.value_or(0) <= 0) {
    return InvalidArgument("linux.resources.memory.swap: needs a memory limit");
  }
  if (both < *memory.limit) {
    return InvalidArgument("linux.resources.memory.swap: must not be below the memory limit");
  }
  return std::optional<int64_t>(both - *memory.limit);
}

// 2…262144 to 1…10000, linear.
uint64_t CpuWeightOfShares(uint64_t shares) {
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + (shares - 2) * 9999 / 262142;
}

// 10…1000 to 1…10000, linear.
uint64_t IoWeightOf(uint64_t weight) {
  return 1 + (std::clamp<uint64_t>(weight, 10, 1000) - 10) * 9999 / 990;
}

Result<oci::Resources> CompleteResources(const kernel::CgroupPaths& paths,
                                         oci::Resources resources) {
  if (!paths.unified || paths.directories.empty()) return resources;
  const std::string& directory = paths.Main();
  if (resources.cpu) {
    oci::Cpu& cpu = *resources.cpu;
    bool has_quota = cpu.quota.value_or(0) != 0;
    bool has_period = cpu.period.value_or(0) != 0;
    if (has_quota != has_period) {
      // "QUOTA PERIOD"
      std::string now = TRY(ReadFile(directory + "/cpu.max"));
      size_t space = std::min(now.find(' '), now.size() - 1);
      if (has_quota) {
        cpu.period = std::strtoull(now.c_str() + space, nullptr, 10);
      } else {
        cpu.quota = now.starts_with("max") ? -1 : std::strtoll(now.c_str(), nullptr, 10);
      }
    }
  }
  if (resources.memory && resources.memory->swap.value_or(0) > 0 && !resources.memory->limit) {
    resources.memory->limit = TRY(ReadLimit(directory, "memory.max"));
  }
  return resources;
}

Result<> ApplyResourcesV2(const kernel::CgroupPaths& paths, const oci::Resources& resources,
                          Devices devices) {
  Result<> set = SetAll(paths.Main(), resources, devices);
  if (!set.ok() && set.error().error_number() == ENOENT) {
    set.error().AddHint("is the controller handed down to this cgroup by those above it?");
  }
  return set;
}

}  // namespace gantry::runtime
