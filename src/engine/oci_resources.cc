// SPDX-License-Identifier: Apache-2.0
//
// Limits: docker's Resources as the "resources" object of config.json.
#include "engine/oci_devices.h"
#include "engine/oci_spec.h"

namespace gantry::engine {
namespace {

constexpr int64_t kNanoCpuPeriod = 100'000;  // microseconds
constexpr int64_t kNano = 1'000'000'000;

oci::Memory MakeMemory(const HostConfig& host) {
  oci::Memory memory;
  if (host.memory > 0) memory.limit = host.memory;
  if (host.memory_reservation > 0) memory.reservation = host.memory_reservation;
  if (host.memory_swap != 0) memory.swap = host.memory_swap;
  if (host.memory_swappiness && *host.memory_swappiness >= 0) {
    memory.swappiness = static_cast<uint64_t>(*host.memory_swappiness);
  }
  if (host.oom_kill_disable && *host.oom_kill_disable) memory.disable_oom_killer = true;
  return memory;
}

oci::Cpu MakeCpu(const HostConfig& host) {
  oci::Cpu cpu;
  if (host.cpu_shares > 0) cpu.shares = static_cast<uint64_t>(host.cpu_shares);
  if (host.nano_cpus > 0) {
    cpu.period = kNanoCpuPeriod;
    cpu.quota = host.nano_cpus * kNanoCpuPeriod / kNano;
  }
  if (host.cpu_period > 0) cpu.period = static_cast<uint64_t>(host.cpu_period);
  if (host.cpu_quota != 0) cpu.quota = host.cpu_quota;
  if (host.cpu_realtime_period > 0) {
    cpu.realtime_period = static_cast<uint64_t>(host.cpu_realtime_period);
  }
  if (host.cpu_realtime_runtime != 0) cpu.realtime_runtime = host.cpu_realtime_runtime;
  cpu.cpus = host.cpuset_cpus;
  cpu.mems = host.cpuset_mems;
  return cpu;
}

Result<std::vector<oci::ThrottleDevice>> MakeThrottles(const std::vector<ThrottleDevice>& devices) {
  std::vector<oci::ThrottleDevice> out;
  for (const ThrottleDevice& device : devices) {
    DeviceNumber number = TRY(BlockDeviceNumber(device.path));
    out.push_back({number.major, number.minor, device.rate});
  }
  return out;
}

Result<std::optional<oci::BlockIo>> MakeBlockIo(const HostConfig& host) {
  oci::BlockIo io;
  if (host.blkio_weight > 0) io.weight = host.blkio_weight;
  for (const WeightDevice& device : host.blkio_weight_device) {
    DeviceNumber number = TRY(BlockDeviceNumber(device.path));
    io.weight_device.push_back({number.major, number.minor, device.weight, std::nullopt});
  }
  io.throttle_read_bps_device = TRY(MakeThrottles(host.blkio_device_read_bps));
  io.throttle_write_bps_device = TRY(MakeThrottles(host.blkio_device_write_bps));
  io.throttle_read_iops_device = TRY(MakeThrottles(host.blkio_device_read_iops));
  io.throttle_write_iops_device = TRY(MakeThrottles(host.blkio_device_write_iops));
  bool any = io.weight || !io.weight_device.empty() || !io.throttle_read_bps_device.empty() ||
             !io.throttle_write_bps_device.empty() || !io.throttle_read_iops_device.empty() ||
             !io.throttle_write_iops_device.empty();
  return any ? std::optional(std::move(io)) : std::nullopt;
}

std::optional<oci::NetworkResources> MakeNetwork(const HostConfig& host) {
  if (host.net_class == 0 && host.net_priorities.empty()) return std::nullopt;
  oci::NetworkResources network;
  if (host.net_class != 0) network.class_id = host.net_class;
  for (const InterfacePriority& priority : host.net_priorities) {
    network.priorities.push_back({priority.name, priority.priority});
  }
  return network;
}

}  // namespace

Result<oci::Resources> MakeResources(const HostConfig& host) {
  oci::Resources resources;
  resources.memory = MakeMemory(host);
  resources.cpu = MakeCpu(host);
  if (host.pids_limit && *host.pids_limit != 0) {
    resources.pids = oci::Pids{*host.pids_limit > 0 ? *host.pids_limit : -1};
  }
  resources.block_io = TRY(MakeBlockIo(host));
  resources.network = MakeNetwork(host);
  return resources;
}

}  // namespace gantry::engine
