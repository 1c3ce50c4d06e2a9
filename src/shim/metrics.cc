// SPDX-License-Identifier: Apache-2.0
#include "shim/metrics.h"

#include <limits>
#include <utility>

#include "containerd/cgroups/v1/metrics.plain.h"
#include "containerd/cgroups/v2/metrics.plain.h"

namespace gantry::shim {
namespace {

namespace v1 = plain::io::containerd::cgroups::v1;
namespace v2 = plain::io::containerd::cgroups::v2;

// v1 writes "unlimited" as the largest number of whole pages; readers compare with that.
constexpr uint64_t kUnlimitedV1 = 0x7ffffffffffff000;

uint64_t ValueOf(const std::map<std::string, uint64_t>& values, const char* key) {
  auto found = values.find(key);
  return found == values.end() ? 0 : found->second;
}

v1::MemoryEntry EntryV1(const kernel::MemoryUsage& usage) {
  v1::MemoryEntry entry;
  entry.limit = usage.limit.value_or(kUnlimitedV1);
  entry.usage = usage.usage;
  entry.max = usage.max_usage;
  entry.failcnt = usage.fail_count;
  return entry;
}

v1::MemoryStat MemoryV1(const kernel::CgroupStats& stats) {
  v1::MemoryStat out;
  const std::pair<const char*, uint64_t v1::MemoryStat::*> fields[] = {
      {"cache", &v1::MemoryStat::cache},
      {"rss", &v1::MemoryStat::rss},
      {"rss_huge", &v1::MemoryStat::rss_huge},
      {"mapped_file", &v1::MemoryStat::mapped_file},
      {"dirty", &v1::MemoryStat::dirty},
      {"writeback", &v1::MemoryStat::writeback},
      {"pgpgin", &v1::MemoryStat::pg_pg_in},
      {"pgpgout", &v1::MemoryStat::pg_pg_out},
      {"pgfault", &v1::MemoryStat::pg_fault},
      {"pgmajfault", &v1::MemoryStat::pg_maj_fault},
      {"inactive_anon", &v1::MemoryStat::inactive_anon},
      {"active_anon", &v1::MemoryStat::active_anon},
      {"inactive_file", &v1::MemoryStat::inactive_file},
      {"active_file", &v1::MemoryStat::active_file},
      {"unevictable", &v1::MemoryStat::unevictable},
      {"hierarchical_memory_limit", &v1::MemoryStat::hierarchical_memory_limit},
      {"hierarchical_memsw_limit", &v1::MemoryStat::hierarchical_swap_limit},
      {"total_cache", &v1::MemoryStat::total_cache},
      {"total_rss", &v1::MemoryStat::total_rss},
      {"total_rss_huge", &v1::MemoryStat::total_rss_huge},
      {"total_mapped_file", &v1::MemoryStat::total_mapped_file},
      {"total_dirty", &v1::MemoryStat::total_dirty},
      {"total_writeback", &v1::MemoryStat::total_writeback},
      {"total_pgpgin", &v1::MemoryStat::total_pg_pg_in},
      {"total_pgpgout", &v1::MemoryStat::total_pg_pg_out},
      {"total_pgfault", &v1::MemoryStat::total_pg_fault},
      {"total_pgmajfault", &v1::MemoryStat::total_pg_maj_fault},
      {"total_inactive_anon", &v1::MemoryStat::total_inactive_anon},
      {"total_active_anon", &v1::MemoryStat::total_active_anon},
      {"total_inactive_file", &v1::MemoryStat::total_inactive_file},
      {"total_active_file", &v1::MemoryStat::total_active_file},
      {"total_unevictable", &v1::MemoryStat::total_unevictable},
  };
  for (const auto& [name, field] : fields) out.*field = ValueOf(stats.memory_stat, name);
  out.usage = EntryV1(stats.memory);
  out.swap = EntryV1(stats.swap);
  out.kernel = EntryV1(stats.kernel);
  out.kernel_tcp = EntryV1(stats.kernel_tcp);
  return out;
}

v1::BlkIOStat BlockIoV1(const kernel::CgroupStats& stats) {
  v1::BlkIOStat out;
  for (const kernel::BlockIoEntry& entry : stats.block_io) {
    v1::BlkIOEntry item;
    item.op = entry.operation;
    item.major_ = entry.major;
    item.minor_ = entry.minor;
    item.value = entry.value;
    if (entry.file.find("io_service_bytes") != std::string::npos) {
      out.io_service_bytes_recursive.push_back(std::move(item));
    } else if (entry.file.find("io_serviced") != std::string::npos) {
      out.io_serviced_recursive.push_back(std::move(item));
    }
  }
  return out;
}

std::string MetricsV1(const kernel::CgroupStats& stats) {
  v1::Metrics out;
  for (const auto& [size, usage] : stats.hugetlb) {
    v1::HugetlbStat item;
    item.usage = usage.usage;
    item.max = usage.max_usage;
    item.failcnt = usage.fail_count;
    item.pagesize = size;
    out.hugetlb.push_back(std::move(item));
  }
  auto& pids = out.pids.emplace();
  pids.current = stats.pids_current;
  pids.limit = stats.pids_limit.value_or(0);
  auto& cpu = out.cpu.emplace();
  auto& usage = cpu.usage.emplace();
  usage.total = stats.cpu_total_ns;
  usage.kernel = stats.cpu_kernel_ns;
  usage.user = stats.cpu_user_ns;
  usage.per_cpu = stats.cpu_each_ns;
  auto& throttling = cpu.throttling.emplace();
  throttling.periods = stats.throttle_periods;
  throttling.throttled_periods = stats.throttled_periods;
  throttling.throttled_time = stats.throttled_ns;
  out.memory = MemoryV1(stats);
  out.blkio = BlockIoV1(stats);
  out.memory_oom_control.emplace().oom_kill = ValueOf(stats.memory_events, "oom_kill");
  return out.Encode();
}

v2::MemoryStat MemoryV2(const kernel::CgroupStats& stats) {
  v2::MemoryStat out;
  const std::pair<const char*, uint64_t v2::MemoryStat::*> fields[] = {
      {"anon", &v2::MemoryStat::anon},
      {"file", &v2::MemoryStat::file},
      {"kernel_stack", &v2::MemoryStat::kernel_stack},
      {"slab", &v2::MemoryStat::slab},
      {"sock", &v2::MemoryStat::sock},
      {"shmem", &v2::MemoryStat::shmem},
      {"file_mapped", &v2::MemoryStat::file_mapped},
      {"file_dirty", &v2::MemoryStat::file_dirty},
      {"file_writeback", &v2::MemoryStat::file_writeback},
      {"anon_thp", &v2::MemoryStat::anon_thp},
      {"inactive_anon", &v2::MemoryStat::inactive_anon},
      {"active_anon", &v2::MemoryStat::active_anon},
      {"inactive_file", &v2::MemoryStat::inactive_file},
      {"active_file", &v2::MemoryStat::active_file},
      {"unevictable", &v2::MemoryStat::unevictable},
      {"slab_reclaimable", &v2::MemoryStat::slab_reclaimable},
      {"slab_unreclaimable", &v2::MemoryStat::slab_unreclaimable},
      {"pgfault", &v2::MemoryStat::pgfault},
      {"pgmajfault", &v2::MemoryStat::pgmajfault},
      {"workingset_nodereclaim", &v2::MemoryStat::workingset_nodereclaim},
      {"pgrefill", &v2::MemoryStat::pgrefill},
      {"pgscan", &v2::MemoryStat::pgscan},
      {"pgsteal", &v2::MemoryStat::pgsteal},
      {"pgactivate", &v2::MemoryStat::pgactivate},
      {"pgdeactivate", &v2::MemoryStat::pgdeactivate},
      {"pglazyfree", &v2::MemoryStat::pglazyfree},
      {"pglazyfreed", &v2::MemoryStat::pglazyfreed},
      {"thp_fault_alloc", &v2::MemoryStat::thp_fault_alloc},
      {"thp_collapse_alloc", &v2::MemoryStat::thp_collapse_alloc},
      {"workingset_refault_anon", &v2::MemoryStat::workingset_refault_anon},
      {"workingset_refault_file", &v2::MemoryStat::workingset_refault_file},
      {"workingset_activate_anon", &v2::MemoryStat::workingset_activate_anon},
      {"workingset_activate_file", &v2::MemoryStat::workingset_activate_file},
  };
  for (const auto& [name, field] : fields) out.*field = ValueOf(stats.memory_stat, name);
  constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
  out.usage = stats.memory.usage;
  out.usage_limit = stats.memory.limit.value_or(kUnlimited);
  out.max_usage = stats.memory.max_usage;
  out.swap_usage = stats.swap.usage;
  out.swap_limit = stats.swap.limit.value_or(kUnlimited);
  return out;
}

v2::IOStat BlockIoV2(const kernel::CgroupStats& stats) {
  v2::IOStat out;
  for (const kernel::BlockIoEntry& entry : stats.block_io) {
    if (out.usage.empty() || out.usage.back().major_ != entry.major ||
        out.usage.back().minor_ != entry.minor) {
      auto& item = out.usage.emplace_back();
      item.major_ = entry.major;
      item.minor_ = entry.minor;
    }
    auto& item = out.usage.back();
    if (entry.operation == "rbytes") item.rbytes = entry.value;
    if (entry.operation == "wbytes") item.wbytes = entry.value;
    if (entry.operation == "rios") item.rios = entry.value;
    if (entry.operation == "wios") item.wios = entry.value;
  }
  return out;
}

std::string MetricsV2(const kernel::CgroupStats& stats) {
  v2::Metrics out;
  auto& pids = out.pids.emplace();
  pids.current = stats.pids_current;
  pids.limit = stats.pids_limit.value_or(0);
  auto& cpu = out.cpu.emplace();
  cpu.usage_usec = stats.cpu_total_ns / 1000;
  cpu.user_usec = stats.cpu_user_ns / 1000;
  cpu.system_usec = stats.cpu_kernel_ns / 1000;
  cpu.nr_periods = stats.throttle_periods;
  cpu.nr_throttled = stats.throttled_periods;
  cpu.throttled_usec = stats.throttled_ns / 1000;
  out.memory = MemoryV2(stats);
  out.io = BlockIoV2(stats);
  for (const auto& [size, usage] : stats.hugetlb) {
    auto& item = out.hugetlb.emplace_back();
    item.current = usage.usage;
    item.max = usage.limit.value_or(0);
    item.pagesize = size;
    item.failcnt = usage.fail_count;
  }
  auto& events = out.memory_events.emplace();
  events.low = ValueOf(stats.memory_events, "low");
  events.high = ValueOf(stats.memory_events, "high");
  events.max = ValueOf(stats.memory_events, "max");
  events.oom = ValueOf(stats.memory_events, "oom");
  events.oom_kill = ValueOf(stats.memory_events, "oom_kill");
  events.oom_group_kill = ValueOf(stats.memory_events, "oom_group_kill");
  return out.Encode();
}

}  // namespace

Result<formats::ProtoAny> ReadMetrics(const kernel::CgroupPaths& paths) {
  kernel::CgroupStats stats = TRY(kernel::ReadCgroupStats(paths));
  if (paths.unified) return formats::ProtoAny{"io.containerd.cgroups.v2.Metrics", MetricsV2(stats)};
  return formats::ProtoAny{"io.containerd.cgroups.v1.Metrics", MetricsV1(stats)};
}

}  // namespace gantry::shim
