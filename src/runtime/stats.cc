// SPDX-License-Identifier: Apache-2.0
//
// One record of `events --stats`, in the form that runc's has.
#include "kernel/cgroups.h"
#include "runtime/operations.h"

namespace gantry::runtime {

using formats::Json;

namespace {

// "Unlimited" as those who read the record know it.
constexpr uint64_t kUnlimited = 9223372036854771712U;

Json MemoryEntry(const kernel::MemoryUsage& usage) {
  return Json::MakeObject({{"limit", usage.limit.value_or(kUnlimited)},
                           {"usage", usage.usage},
                           {"max", usage.max_usage},
                           {"failcnt", usage.fail_count}});
}

Json Memory(const kernel::CgroupStats& stats) {
  Json raw = Json::MakeObject();
  for (const auto& [name, value] : stats.memory_stat) raw.Set(name, value);
  auto cache = stats.memory_stat.find("cache");
  if (cache == stats.memory_stat.end()) cache = stats.memory_stat.find("file");
  return Json::MakeObject({{"cache", cache != stats.memory_stat.end() ? cache->second : 0},
                           {"usage", MemoryEntry(stats.memory)},
                           {"swap", MemoryEntry(stats.swap)},
                           {"kernel", MemoryEntry(stats.kernel)},
                           {"kernelTCP", MemoryEntry(stats.kernel_tcp)},
                           {"raw", std::move(raw)}});
}

Json Cpu(const kernel::CgroupStats& stats) {
  Json usage = Json::MakeObject({{"total", stats.cpu_total_ns},
                                 {"kernel", stats.cpu_kernel_ns},
                                 {"user", stats.cpu_user_ns}});
  if (!stats.cpu_each_ns.empty()) {
    Json each = Json::MakeArray();
    for (uint64_t value : stats.cpu_each_ns) each.Append(value);
    usage.Set("percpu", std::move(each));
  }
  return Json::MakeObject(
      {{"usage", std::move(usage)},
       {"throttling", Json::MakeObject({{"periods", stats.throttle_periods},
                                        {"throttledPeriods", stats.throttled_periods},
                                        {"throttledTime", stats.throttled_ns}})}});
}

Json BlockIo(const kernel::CgroupStats& stats) {
  Json bytes = Json::MakeArray();
  Json operations = Json::MakeArray();
  for (const kernel::BlockIoEntry& entry : stats.block_io) {
    std::string operation = entry.operation;
    bool in_bytes = entry.file.find("bytes") != std::string::npos;
    if (entry.file == "io.stat") {
      if (operation != "rbytes" && operation != "wbytes" && operation != "rios" &&
          operation != "wios") {
        continue;
      }
      in_bytes = operation.ends_with("bytes");
      operation = operation.starts_with('r') ? "Read" : "Write";
    }
    (in_bytes ? bytes : operations)
        .Append(Json::MakeObject({{"major", entry.major},
                                  {"minor", entry.minor},
                                  {"op", operation},
                                  {"value", entry.value}}));
  }
  return Json::MakeObject({{"ioServiceBytesRecursive", std::move(bytes)},
                           {"ioServicedRecursive", std::move(operations)}});
}

}  // namespace

Result<Json> Stats(const std::string& root, const std::string& id) {
  StateDirectory directory(root, id);
  ContainerState state = TRY(directory.Load());
  if (TRY(StatusOf(directory, state)) == Status::kStopped) {
    return FailedPrecondition("container not running");
  }
  kernel::CgroupStats stats = TRY(kernel::ReadCgroupStats(state.cgroups));
  Json huge = Json::MakeObject();
  for (const auto& [size, usage] : stats.hugetlb) {
    huge.Set(size, Json::MakeObject({{"usage", usage.usage},
                                     {"max", usage.max_usage},
                                     {"failcnt", usage.fail_count}}));
  }
  Json data =
      Json::MakeObject({{"cpu", Cpu(stats)},
                        {"memory", Memory(stats)},
                        {"pids", Json::MakeObject({{"current", stats.pids_current},
                                                   {"limit", stats.pids_limit.value_or(0)}})},
                        {"blkio", BlockIo(stats)},
                        {"hugetlb", std::move(huge)}});
  return Json::MakeObject({{"type", "stats"}, {"id", id}, {"data", std::move(data)}});
}

}  // namespace gantry::runtime
