// SPDX-License-Identifier: Apache-2.0
#include "engine/resource_checks.h"

#include <string_view>

namespace gantry::engine {
namespace {

constexpr int64_t kMinimumMemory = 6 << 20;
constexpr int64_t kNanoPerCpu = 1'000'000'000;

// Takes away what the kernel lacks, with docker's two wordings.
template <typename T>
void Discard(bool supported, T* value, const T& nothing, std::string_view what, Warnings* out) {
  if (supported || *value == nothing) return;
  *value = nothing;
  out->push_back(fmt::format("Your kernel does not support {}", what));
}

void DiscardList(bool supported, auto* list, std::string_view what, Warnings* out) {
  if (supported || list->empty()) return;
  list->clear();
  out->push_back(fmt::format("Your kernel does not support {}", what));
}

Result<> CheckSwap(const CgroupFeatures& features, HostConfig* host, ResourceCheck what,
                   Warnings* out) {
  if (host->memory > 0 && host->memory_swap != -1 && !features.swap) {
    out->emplace_back(
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory "
        "limited without swap.");
    host->memory_swap = -1;
  }
  if (host->memory > 0 && host->memory_swap > 0 && host->memory_swap < host->memory) {
    return InvalidArgument(
        "Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (host->memory == 0 && host->memory_swap > 0 && what == ResourceCheck::kCreate) {
    return InvalidArgument(
        "You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  // -1 is docker's older way to say "not set".
  if (host->memory_swappiness == -1) host->memory_swappiness.reset();
  if (host->memory_swappiness && !features.swappiness) {
    out->emplace_back(
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
        "Memory swappiness discarded.");
    host->memory_swappiness.reset();
  }
  if (host->memory_swappiness && (*host->memory_swappiness < 0 || *host->memory_swappiness > 100)) {
    return InvalidArgument("Invalid value: {}, valid memory swappiness range is 0-100",
                           *host->memory_swappiness);
  }
  return {};
}

Result<> CheckReservation(const CgroupFeatures& features, HostConfig* host, Warnings* out) {
  if (host->memory_reservation > 0) {
    Discard(features.memory_reservation, &host->memory_reservation, int64_t{0},
            "memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
            out);
  }
  if (host->memory_reservation > 0 && host->memory_reservation < kMinimumMemory) {
    return InvalidArgument("Minimum memory reservation allowed is 6MB");
  }
  if (host->memory > 0 && host->memory_reservation > 0 && host->memory < host->memory_reservation) {
    return InvalidArgument(
        "Minimum memory limit can not be less than memory reservation limit, see usage");
  }
  return {};
}

Result<> CheckMemory(const CgroupFeatures& features, HostConfig* host, ResourceCheck what,
                     Warnings* out) {
  if (host->memory != 0 && host->memory < kMinimumMemory) {
    return InvalidArgument("Minimum memory limit allowed is 6MB");
  }
  if (host->memory > 0 && !features.memory) {
    out->emplace_back(
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded.");
    host->memory = 0;
    host->memory_swap = -1;
  }
  TRY(CheckSwap(features, host, what, out));
  TRY(CheckReservation(features, host, out));
  if (host->oom_kill_disable && !features.oom_kill_disable) {
    // No word to those who wanted it off anyway.
    if (*host->oom_kill_disable) {
      out->emplace_back("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    }
    host->oom_kill_disable.reset();
  }
  if (host->oom_kill_disable.value_or(false) && host->memory == 0) {
    out->emplace_back(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in "
        "the system running out of resources.");
  }
  if (host->pids_limit && !features.pids) {
    if (*host->pids_limit > 0) {
      out->emplace_back(
          "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs "
          "limit discarded.");
    }
    host->pids_limit.reset();
  }
  return {};
}

Result<> CheckNanoCpus(const HostFacts& facts, const HostConfig& host) {
  if (host.nano_cpus > 0 && host.cpu_period > 0) {
    return InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  }
  if (host.nano_cpus > 0 && host.cpu_quota > 0) {
    return InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  }
  if (host.nano_cpus > 0 && !facts.cgroups.cpu_quota) {
    return InvalidArgument(
        "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup "
        "is not mounted");
  }
  if (host.nano_cpus < 0 || host.nano_cpus > facts.cpus * kNanoPerCpu) {
    return InvalidArgument(
        "range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available", facts.cpus);
  }
  return {};
}

Result<> CheckCpu(const HostFacts& facts, HostConfig* host, Warnings* out) {
  TRY(CheckNanoCpus(facts, *host));
  if (host->cpu_shares > 0) {
    Discard(facts.cgroups.cpu_shares, &host->cpu_shares, int64_t{0},
            "CPU shares or the cgroup is not mounted. Shares discarded.", out);
  }
  if ((host->cpu_period != 0 || host->cpu_quota != 0) && !facts.cgroups.cpu_quota) {
    out->emplace_back(
        "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
    host->cpu_period = host->cpu_quota = 0;
  }
  if (host->cpu_period != 0 && (host->cpu_period < 1000 || host->cpu_period > 1'000'000)) {
    return InvalidArgument(
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (host->cpu_quota > 0 && host->cpu_quota < 1000) {
    return InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  if (host->cpu_percent > 0) {
    out->emplace_back("linux does not support CPU percent. Percent discarded.");
    host->cpu_percent = 0;
  }
  return {};
}

Result<> CheckCpuset(const CgroupFeatures& features, HostConfig* host, Warnings* out) {
  if ((!host->cpuset_cpus.empty() || !host->cpuset_mems.empty()) && !features.cpuset) {
    out->emplace_back(
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
    host->cpuset_cpus.clear();
    host->cpuset_mems.clear();
  }
  Result<bool> cpus = IsInCpuset(host->cpuset_cpus, features.cpus);
  if (!cpus.ok()) {
    return InvalidArgument("Invalid value {} for cpuset cpus: {}", host->cpuset_cpus,
                           cpus.error().message());
  }
  if (!*cpus) {
    return InvalidArgument("Requested CPUs are not available - requested {}, available: {}",
                           host->cpuset_cpus, features.cpus);
  }
  Result<bool> mems = IsInCpuset(host->cpuset_mems, features.mems);
  if (!mems.ok()) {
    return InvalidArgument("Invalid value {} for cpuset mems: {}", host->cpuset_mems,
                           mems.error().message());
  }
  if (!*mems) {
    return InvalidArgument("Requested memory nodes are not available - requested {}, available: {}",
                           host->cpuset_mems, features.mems);
  }
  return {};
}

Result<> CheckBlockIo(const CgroupFeatures& features, HostConfig* host, Warnings* out) {
  Discard(features.blkio_weight, &host->blkio_weight, uint32_t{0},
          "Block I/O weight or the cgroup is not mounted. Weight discarded.", out);
  if (host->blkio_weight > 0 && (host->blkio_weight < 10 || host->blkio_weight > 1000)) {
    return InvalidArgument("Range of blkio weight is from 10 to 1000");
  }
  DiscardList(features.blkio_weight_device, &host->blkio_weight_device,
              "Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
              out);
  DiscardList(features.blkio_read_bps, &host->blkio_device_read_bps,
              "BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit "
              "discarded.",
              out);
  DiscardList(features.blkio_write_bps, &host->blkio_device_write_bps,
              "BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit "
              "discarded.",
              out);
  DiscardList(features.blkio_read_iops, &host->blkio_device_read_iops,
              "IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit "
              "discarded.",
              out);
  DiscardList(features.blkio_write_iops, &host->blkio_device_write_iops,
              "IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit "
              "discarded.",
              out);
  return {};
}

Result<> CheckNetClasses(const CgroupFeatures& features, HostConfig* host, Warnings* out) {
  for (const InterfacePriority& priority : host->net_priorities) {
    if (!priority.name.empty() && priority.name.find_first_of(" /\n") == std::string::npos)
      continue;
    return InvalidArgument("invalid NetPriorities: '{}' is no name of an interface", priority.name);
  }
  Discard(features.net_cls, &host->net_class, uint32_t{0},
          "network classes or the cgroup net_cls is not mounted. Class discarded.", out);
  DiscardList(features.net_prio, &host->net_priorities,
              "network priorities or the cgroup net_prio is not mounted. Priorities discarded.",
              out);
  return {};
}

}  // namespace

Result<Warnings> CheckResources(const HostFacts& facts, HostConfig* host, ResourceCheck what) {
  Warnings out;
  TRY(CheckMemory(facts.cgroups, host, what, &out));
  TRY(CheckCpu(facts, host, &out));
  TRY(CheckCpuset(facts.cgroups, host, &out));
  TRY(CheckBlockIo(facts.cgroups, host, &out));
  TRY(CheckNetClasses(facts.cgroups, host, &out));
  return out;
}

Result<> CheckRealtime(const CgroupFeatures& features, const HostConfig& host) {
  bool asked = host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0;
  if (asked && !features.cpu_realtime) {
    return InvalidArgument("kernel does not support CPU real-time scheduler");
  }
  if (host.cpu_realtime_period != 0 && host.cpu_realtime_runtime > host.cpu_realtime_period) {
    return InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period");
  }
  if (features.cpu_shares && host.cpu_shares < 0) {
    return InvalidArgument("invalid CPU shares ({}): value must be a positive integer",
                           host.cpu_shares);
  }
  return {};
}

}  // namespace gantry::engine
