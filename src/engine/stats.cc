// SPDX-License-Identifier: Apache-2.0
#include "engine/stats.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "base/io.h"
#include "base/text.h"
#include "engine/host_info.h"
#include "kernel/cgroups.h"

namespace gantry::engine {
namespace {

using formats::Json;

uint64_t Number(std::string_view text) {
  uint64_t value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Processor time of the whole host in nanoseconds: the first seven columns of /proc/stat (proc(5)).
uint64_t SystemCpuNanos() {
  Result<std::string> text = ReadFile("/proc/stat");
  if (!text.ok()) return 0;
  std::vector<std::string> words = SplitWords(std::string_view(*text).substr(0, text->find('\n')));
  uint64_t ticks = 0;
  for (size_t i = 1; i < words.size() && i <= 7; ++i) ticks += Number(words[i]);
  return ticks * 1'000'000'000 / static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
}

Json CpuStats(const kernel::CgroupStats& stats) {
  Json usage = Json::MakeObject({{"total_usage", stats.cpu_total_ns},
                                 {"usage_in_kernelmode", stats.cpu_kernel_ns},
                                 {"usage_in_usermode", stats.cpu_user_ns}});
  if (!stats.cpu_each_ns.empty()) {
    Json each = Json::MakeArray();
    for (uint64_t nanos : stats.cpu_each_ns) each.Append(nanos);
    usage.Set("percpu_usage", std::move(each));
  }
  return Json::MakeObject(
      {{"cpu_usage", usage},
       {"system_cpu_usage", SystemCpuNanos()},
       {"online_cpus", int64_t{::sysconf(_SC_NPROCESSORS_ONLN)}},
       {"throttling_data", Json::MakeObject({{"periods", stats.throttle_periods},
                                             {"throttled_periods", stats.throttled_periods},
                                             {"throttled_time", stats.throttled_ns}})}});
}

Json MemoryStats(const kernel::CgroupStats& stats, bool unified) {
  Json details = Json::MakeObject();
  for (const auto& [name, value] : stats.memory_stat) details.Set(name, value);
  uint64_t host = static_cast<uint64_t>(ReadHostInfo().memory_bytes);
  uint64_t limit = std::min(stats.memory.limit.value_or(host), host);
  Json out =
      Json::MakeObject({{"usage", stats.memory.usage}, {"stats", details}, {"limit", limit}});
  if (!unified) {
    out.Set("max_usage", stats.memory.max_usage);
    out.Set("failcnt", stats.memory.fail_count);
  }
  return out;
}

// The lists of blkio_stats, by the cgroup file they come from.
Json BlockIoStats(const kernel::CgroupStats& stats) {
  struct List {
    const char* name;
    std::string_view file;
  };
  static constexpr std::array<List, 8> kLists = {{
      {"io_service_bytes_recursive", "blkio.throttle.io_service_bytes"},
      {"io_serviced_recursive", "blkio.throttle.io_serviced"},
      {"io_queue_recursive", ""},
      {"io_service_time_recursive", ""},
      {"io_wait_time_recursive", ""},
      {"io_merged_recursive", ""},
      {"io_time_recursive", ""},
      {"sectors_recursive", ""},
  }};
  Json out = Json::MakeObject();
  for (const List& list : kLists) out.Set(list.name, Json());
  for (const kernel::BlockIoEntry& entry : stats.block_io) {
    std::string name;
    std::string operation = entry.operation;
    for (const List& list : kLists) {
      if (!list.file.empty() && entry.file.starts_with(list.file)) name = list.name;
    }
    // v2 tells operations and bytes apart by the key.
    if (operation == "rbytes" || operation == "wbytes") name = kLists[0].name;
    if (operation == "rios" || operation == "wios") name = kLists[1].name;
    if (name.empty()) continue;
    if (entry.file == "io.stat") operation = operation[0] == 'r' ? "read" : "write";
    out.MutableMember(name).Append(Json::MakeObject({{"major", entry.major},
                                                     {"minor", entry.minor},
                                                     {"op", operation},
                                                     {"value", entry.value}}));
  }
  return out;
}

// /proc/PID/net/dev: two lines of titles, then "eth0: 8 numbers received, 8 sent".
Json NetworkStats(uint32_t pid) {
  Json out = Json::MakeObject();
  Result<std::string> text = ReadFile(fmt::format("/proc/{}/net/dev", pid));
  if (!text.ok()) return out;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::vector<std::string> name = SplitWords(line.substr(0, colon));
    std::vector<std::string> numbers = SplitWords(line.substr(colon + 1));
    if (name.size() != 1 || numbers.size() < 12 || name[0] == "lo") continue;
    out.Set(name[0], Json::MakeObject({{"rx_bytes", Number(numbers[0])},
                                       {"rx_packets", Number(numbers[1])},
                                       {"rx_errors", Number(numbers[2])},
                                       {"rx_dropped", Number(numbers[3])},
                                       {"tx_bytes", Number(numbers[8])},
                                       {"tx_packets", Number(numbers[9])},
                                       {"tx_errors", Number(numbers[10])},
                                       {"tx_dropped", Number(numbers[11])}}));
  }
  return out;
}

}  // namespace

Json EmptyStats(const ContainerRecord& record) {
  kernel::CgroupStats nothing;
  Json cpu = CpuStats(nothing);
  cpu.Erase("system_cpu_usage");
  cpu.Erase("online_cpus");
  return Json::MakeObject({{"read", "0001-01-01T00:00:00Z"},
                           {"preread", "0001-01-01T00:00:00Z"},
                           {"pids_stats", Json::MakeObject()},
                           {"blkio_stats", BlockIoStats(nothing)},
                           {"num_procs", 0},
                           {"storage_stats", Json::MakeObject()},
                           {"cpu_stats", cpu},
                           {"precpu_stats", cpu},
                           {"memory_stats", Json::MakeObject()},
                           {"name", "/" + record.name},
                           {"id", record.id}});
}

Result<Json> SampleStats(const ContainerRecord& record) {
  Json out = EmptyStats(record);
  if (!record.state.IsAlive()) return out;
  auto paths = TRY_WITH(kernel::CgroupPathsOfProcess(static_cast<pid_t>(record.state.pid)),
                        "reading the cgroup of container {}", record.id);
  kernel::CgroupStats stats = TRY(kernel::ReadCgroupStats(paths));
  out.Set("read", FormatRfc3339Nano(WallClock::now()));
  out.Set("cpu_stats", CpuStats(stats));
  out.Set("memory_stats", MemoryStats(stats, paths.unified));
  out.Set("blkio_stats", BlockIoStats(stats));
  Json pids = Json::MakeObject({{"current", stats.pids_current}});
  if (stats.pids_limit) pids.Set("limit", *stats.pids_limit);
  out.Set("pids_stats", std::move(pids));
  // With --network host these would be the host's own figures.
  if (record.host.network_mode != "host") out.Set("networks", NetworkStats(record.state.pid));
  return out;
}

}  // namespace gantry::engine
