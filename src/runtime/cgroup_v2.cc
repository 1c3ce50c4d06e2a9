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
  // v1's limit of both becomes one of swap alone.
  if (memory.swap && *memory.swap != 0) {
    int64_t swap = *memory.swap;
    if (swap > 0) {
      if (memory.limit.value_or(0) <= 0) {
        return InvalidArgument("linux.resources.memory.swap: needs a memory limit");
      }
      if (swap < *memory.limit) {
        return InvalidArgument("linux.resources.memory.swap: must not be below the memory limit");
      }
      swap -= *memory.limit;
    }
    Result<> set = WriteCgroup(directory, "memory.swap.max", Max(swap));
    // A kernel without swap accounting has no such file; no swap was asked for, or none matters.
    if (!set.ok() && !(set.error().error_number() == ENOENT && swap <= 0)) return set;
  } else if (memory.limit == -1) {
    if (PathExists(directory + "/memory.swap.max")) {
      TRY(WriteCgroup(directory, "memory.swap.max", "max"));
    }
  }
  if (memory.limit && *memory.limit != 0) {
    TRY(WriteCgroup(directory, "memory.max", Max(*memory.limit)));
  }
  if (memory.reservation && *memory.reservation != 0) {
    TRY(WriteCgroup(directory, "memory.low", Max(*memory.reservation)));
  }
  return {};
}

// shares 2…262144 to weight 1…10000, linear.
uint64_t WeightOfShares(uint64_t shares) {
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + (shares - 2) * 9999 / 262142;
}

Result<> SetCpu(const std::string& directory, const oci::Cpu& cpu) {
  if (cpu.idle) TRY(WriteCgroup(directory, "cpu.idle", fmt::format("{}", *cpu.idle)));
  if (cpu.shares.value_or(0) != 0 && cpu.idle.value_or(0) == 0) {
    TRY(WriteCgroup(directory, "cpu.weight", fmt::format("{}", WeightOfShares(*cpu.shares))));
  }
  if (cpu.quota.value_or(0) != 0 || cpu.period.value_or(0) != 0) {
    std::string quota = cpu.quota.value_or(0) > 0 ? fmt::format("{}", *cpu.quota) : "max";
    std::string period = fmt::format("{}", cpu.period.value_or(0) != 0 ? *cpu.period : 100000);
    TRY(WriteCgroup(directory, "cpu.max", quota + " " + period));
  }
  if (cpu.burst) TRY(WriteCgroup(directory, "cpu.max.burst", fmt::format("{}", *cpu.burst)));
  if (cpu.realtime_period.value_or(0) != 0 || cpu.realtime_runtime.value_or(0) != 0) {
    return FailedPrecondition("linux.resources.cpu.realtimeRuntime: cgroup version 2 has no such");
  }
  if (!cpu.cpus.empty()) TRY(WriteCgroup(directory, "cpuset.cpus", cpu.cpus));
  if (!cpu.mems.empty()) TRY(WriteCgroup(directory, "cpuset.mems", cpu.mems));
  return {};
}

Result<> SetBlockIo(const std::string& directory, const oci::BlockIo& block) {
  if (block.weight.value_or(0) != 0) {
    uint64_t weight = *block.weight;
    if (PathExists(directory + "/io.bfq.weight")) {
      TRY(WriteCgroup(directory, "io.bfq.weight", fmt::format("{}", weight)));
    } else {
      // 10…1000 to 1…10000.
      TRY(WriteCgroup(directory, "io.weight",
                      fmt::format("{}", 1 + (std::max<uint64_t>(weight, 10) - 10) * 9999 / 990)));
    }
  }
  for (const oci::WeightDevice& device : block.weight_device) {
    if (device.weight.value_or(0) == 0) continue;
    TRY(WriteCgroup(directory, "io.bfq.weight",
                    fmt::format("{}:{} {}", device.major, device.minor, *device.weight)));
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

}  // namespace

Result<> ApplyResourcesV2(const kernel::CgroupPaths& paths, const oci::Resources& resources,
                          Devices devices) {
  const std::string& directory = paths.Main();
  if (resources.memory) TRY(SetMemory(directory, *resources.memory));
  if (resources.cpu) TRY(SetCpu(directory, *resources.cpu));
  if (resources.pids && resources.pids->limit != 0) {
    TRY(WriteCgroup(directory, "pids.max", Max(resources.pids->limit)));
  }
  if (resources.block_io) TRY(SetBlockIo(directory, *resources.block_io));
  for (const oci::HugepageLimit& limit : resources.hugepage_limits) {
    TRY(WriteCgroup(directory, fmt::format("hugetlb.{}.max", limit.page_size),
                    fmt::format("{}", limit.limit)));
    // What is set aside counts too, since 5.7: else it is not used, and a fault kills (SIGBUS).
    std::string reserved = fmt::format("hugetlb.{}.rsvd.max", limit.page_size);
    if (PathExists(directory + "/" + reserved)) {
      TRY(WriteCgroup(directory, reserved, fmt::format("{}", limit.limit)));
    }
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
  if (devices == Devices::kApply && !resources.devices.empty()) {
    TRY(AttachDeviceProgram(directory, EffectiveDeviceRules(resources.devices)));
  }
  for (const auto& [file, value] : resources.unified) TRY(WriteCgroup(directory, file, value));
  return {};
}

}  // namespace gantry::runtime
