// SPDX-License-Identifier: Apache-2.0
//
// ReadCgroupStats of kernel/cgroups.h. Formats: the kernel's Documentation/admin-guide/cgroup-v1
// and cgroup-v2.rst.
#include <unistd.h>

#include <charconv>

#include "base/directory.h"
#include "base/io.h"
#include "kernel/cgroups.h"

namespace gantry::kernel {
namespace {

// v1 writes "unlimited" as the largest number of whole pages.
constexpr uint64_t kUnlimitedV1 = uint64_t{1} << 62;

std::string Read(const std::string& path) {
  Result<std::string> text = ReadFile(path, size_t{1} << 20);
  return text.ok() ? *std::move(text) : std::string();
}

// Calls visit(word, word, …) for each line split at blanks.
template <typename F>
void EachLine(std::string_view text, F&& visit) {
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::vector<std::string_view> words;
    while (!line.empty()) {
      size_t blank = std::min(line.find(' '), line.size());
      if (blank > 0) words.push_back(line.substr(0, blank));
      line.remove_prefix(std::min(blank + 1, line.size()));
    }
    if (!words.empty()) visit(words);
  }
}

uint64_t Number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<uint64_t> Limit(std::string_view text) {
  if (text.empty() || text.starts_with("max")) return std::nullopt;
  uint64_t value = Number(text);
  return value >= kUnlimitedV1 ? std::nullopt : std::optional<uint64_t>(value);
}

std::map<std::string, uint64_t> KeyedNumbers(const std::string& path) {
  std::map<std::string, uint64_t> values;
  EachLine(Read(path), [&](const std::vector<std::string_view>& words) {
    if (words.size() == 2) values.emplace(words[0], Number(words[1]));
  });
  return values;
}

uint64_t ValueOf(const std::map<std::string, uint64_t>& values, const std::string& key) {
  auto found = values.find(key);
  return found != values.end() ? found->second : 0;
}

bool ParseDevice(std::string_view word, BlockIoEntry* entry) {
  size_t colon = word.find(':');
  if (colon == std::string_view::npos) return false;
  entry->major = Number(word.substr(0, colon));
  entry->minor = Number(word.substr(colon + 1));
  return true;
}

MemoryUsage ReadUsageV1(const std::string& prefix) {
  return {.usage = Number(Read(prefix + ".usage_in_bytes")),
          .max_usage = Number(Read(prefix + ".max_usage_in_bytes")),
          .limit = Limit(Read(prefix + ".limit_in_bytes")),
          .fail_count = Number(Read(prefix + ".failcnt"))};
}

void ReadCpuV1(const CgroupPaths& paths, CgroupStats* stats) {
  if (const std::string& accounts = paths.Of("cpuacct"); !accounts.empty()) {
    stats->cpu_total_ns = Number(Read(accounts + "/cpuacct.usage"));
    stats->cpu_user_ns = Number(Read(accounts + "/cpuacct.usage_user"));
    stats->cpu_kernel_ns = Number(Read(accounts + "/cpuacct.usage_sys"));
    EachLine(Read(accounts + "/cpuacct.usage_percpu"),
             [&](const std::vector<std::string_view>& words) {
               for (std::string_view word : words) stats->cpu_each_ns.push_back(Number(word));
             });
  }
  if (const std::string& cpu = paths.Of("cpu"); !cpu.empty()) {
    std::map<std::string, uint64_t> values = KeyedNumbers(cpu + "/cpu.stat");
    stats->throttle_periods = ValueOf(values, "nr_periods");
    stats->throttled_periods = ValueOf(values, "nr_throttled");
    stats->throttled_ns = ValueOf(values, "throttled_time");
  }
}

void ReadBlockIoV1(const std::string& directory, CgroupStats* stats) {
  // Only the throttle layer's files count when no proportional scheduler is in use.
  for (const char* file :
       {"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"}) {
    EachLine(Read(directory + "/" + file), [&](const std::vector<std::string_view>& words) {
      BlockIoEntry entry{.file = file};
      if (words.size() != 3 || !ParseDevice(words[0], &entry)) return;
      entry.operation = words[1];
      entry.value = Number(words[2]);
      stats->block_io.push_back(std::move(entry));
    });
  }
}

// Calls visit(page size) for each file "hugetlb.SIZE<suffix>".
template <typename F>
void EachPageSize(const std::string& directory, std::string_view suffix, F&& visit) {
  DirectoryHandle stream(::opendir(directory.c_str()));
  while (const dirent* entry = stream ? ::readdir(stream.get()) : nullptr) {
    std::string_view name = entry->d_name;
    if (!name.starts_with("hugetlb.") || !name.ends_with(suffix)) continue;
    name.remove_prefix(8);
    name.remove_suffix(suffix.size());
    if (name.find('.') == std::string_view::npos) visit(std::string(name));
  }
}

CgroupStats ReadV1(const CgroupPaths& paths) {
  CgroupStats stats;
  ReadCpuV1(paths, &stats);
  if (const std::string& pids = paths.Of("pids"); !pids.empty()) {
    stats.pids_current = Number(Read(pids + "/pids.current"));
    stats.pids_limit = Limit(Read(pids + "/pids.max"));
  }
  if (const std::string& memory = paths.Of("memory"); !memory.empty()) {
    stats.memory = ReadUsageV1(memory + "/memory");
    stats.swap = ReadUsageV1(memory + "/memory.memsw");
    stats.kernel = ReadUsageV1(memory + "/memory.kmem");
    stats.kernel_tcp = ReadUsageV1(memory + "/memory.kmem.tcp");
    stats.memory_stat = KeyedNumbers(memory + "/memory.stat");
    stats.memory_events["oom_kill"] =
        ValueOf(KeyedNumbers(memory + "/memory.oom_control"), "oom_kill");
  }
  if (const std::string& block = paths.Of("blkio"); !block.empty()) ReadBlockIoV1(block, &stats);
  if (const std::string& huge = paths.Of("hugetlb"); !huge.empty()) {
    EachPageSize(huge, ".limit_in_bytes", [&](const std::string& size) {
      stats.hugetlb[size] = ReadUsageV1(huge + "/hugetlb." + size);
    });
  }
  return stats;
}

CgroupStats ReadV2(const std::string& directory) {
  CgroupStats stats;
  std::map<std::string, uint64_t> cpu = KeyedNumbers(directory + "/cpu.stat");
  stats.cpu_total_ns = ValueOf(cpu, "usage_usec") * 1000;
  stats.cpu_user_ns = ValueOf(cpu, "user_usec") * 1000;
  stats.cpu_kernel_ns = ValueOf(cpu, "system_usec") * 1000;
  stats.throttle_periods = ValueOf(cpu, "nr_periods");
  stats.throttled_periods = ValueOf(cpu, "nr_throttled");
  stats.throttled_ns = ValueOf(cpu, "throttled_usec") * 1000;
  stats.pids_current = Number(Read(directory + "/pids.current"));
  stats.pids_limit = Limit(Read(directory + "/pids.max"));
  stats.memory_stat = KeyedNumbers(directory + "/memory.stat");
  stats.memory_events = KeyedNumbers(directory + "/memory.events");
  stats.memory = {.usage = Number(Read(directory + "/memory.current")),
                  .max_usage = Number(Read(directory + "/memory.peak")),
                  .limit = Limit(Read(directory + "/memory.max")),
                  .fail_count = ValueOf(stats.memory_events, "max")};
  stats.swap = {.usage = Number(Read(directory + "/memory.swap.current")),
                .limit = Limit(Read(directory + "/memory.swap.max"))};
  EachLine(Read(directory + "/io.stat"), [&](const std::vector<std::string_view>& words) {
    BlockIoEntry entry{.file = "io.stat"};
    if (!ParseDevice(words[0], &entry)) return;
    for (size_t i = 1; i < words.size(); ++i) {
      size_t equals = words[i].find('=');
      if (equals == std::string_view::npos) continue;
      entry.operation = words[i].substr(0, equals);
      entry.value = Number(words[i].substr(equals + 1));
      stats.block_io.push_back(entry);
    }
  });
  EachPageSize(directory, ".current", [&](const std::string& size) {
    std::string prefix = directory + "/hugetlb." + size;
    stats.hugetlb[size] = {.usage = Number(Read(prefix + ".current")),
                           .limit = Limit(Read(prefix + ".max")),
                           .fail_count = ValueOf(KeyedNumbers(prefix + ".events"), "max")};
  });
  return stats;
}

}  // namespace

Result<CgroupStats> ReadCgroupStats(const CgroupPaths& paths) {
  if (paths.directories.empty()) return NotFound("reading statistics: no cgroup");
  if (!PathExists(paths.Main())) {
    return NotFound("reading statistics: cgroup '{}' does not exist", paths.Main());
  }
  return paths.unified ? ReadV2(paths.Main()) : ReadV1(paths);
}

}  // namespace gantry::kernel
