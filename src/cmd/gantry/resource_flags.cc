// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/resource_flags.h"

#include "cmd/gantry/value_spec.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

enum class Value { kNumber, kSize, kSwap, kCpus, kBitRate, kNetClass, kIgnored };

struct NumberFlag {
  const char* name;
  char shorthand;
  const char* field;
  Value value;
  bool of_update;
  const char* help;
};

constexpr NumberFlag kFlags[] = {
    {"memory", 'm', "Memory", Value::kSize, true, "Memory limit"},
    {"memory-swap", 0, "MemorySwap", Value::kSwap, true,
     "Limit of memory and swap together; -1: no limit"},
    {"memory-reservation", 0, "MemoryReservation", Value::kSize, true, "Soft memory limit"},
    {"kernel-memory", 0, "", Value::kIgnored, true, "Without effect: no kernel has it any more"},
    {"shm-size", 0, "ShmSize", Value::kSize, false, "Size of /dev/shm"},
    {"cpu-shares", 'c', "CpuShares", Value::kNumber, true, "Relative share of processor time"},
    {"cpu-period", 0, "CpuPeriod", Value::kNumber, true,
     "Period of the processor quota in microseconds"},
    {"cpu-quota", 0, "CpuQuota", Value::kNumber, true,
     "Microseconds of processor time in a period"},
    {"cpu-rt-period", 0, "CpuRealtimePeriod", Value::kNumber, true,
     "Real-time period in microseconds"},
    {"cpu-rt-runtime", 0, "CpuRealtimeRuntime", Value::kNumber, true,
     "Real-time microseconds in a period"},
    {"cpus", 0, "NanoCpus", Value::kCpus, true, "Number of processors, such as 1.5"},
    {"net-rate", 0, "NetRate", Value::kBitRate, true,
     "Bits per second that each interface sends and receives, such as 10mbit; 0: no limit"},
    {"net-ceil", 0, "NetCeil", Value::kBitRate, true,
     "The same for a moment, after a quiet one; 0: as net-rate"},
    {"net-class", 0, "NetClass", Value::kNetClass, false,
     "Class of what its sockets send, as in tc(8), such as 10:1 (cgroup net_cls)"},
    {"pids-limit", 0, "PidsLimit", Value::kNumber, true, "Most processes; -1: no limit"},
    {"memory-swappiness", 0, "MemorySwappiness", Value::kNumber, false,
     "Swappiness, 0 to 100 (default -1)"},
    {"oom-score-adj", 0, "OomScoreAdj", Value::kNumber, false,
     "Preference of the OOM killer, -1000 to 1000"},
    {"blkio-weight", 0, "BlkioWeight", Value::kNumber, true,
     "Relative weight of block I/O, 10 to 1000"},
    {"cpu-count", 0, "CpuCount", Value::kNumber, false, "Number of processors (Windows only)"},
    {"cpu-percent", 0, "CpuPercent", Value::kNumber, false, "Processor percent (Windows only)"},
    {"io-maxiops", 0, "IOMaximumIOps", Value::kNumber, false,
     "Most operations a second of the system drive (Windows only)"},
    {"io-maxbandwidth", 0, "IOMaximumBandwidth", Value::kSize, false,
     "Most bytes a second of the system drive (Windows only)"},
};

Result<int64_t> Parse(const std::string& text, Value value) {
  if (value == Value::kNumber) return ParseInteger(text);
  if (value == Value::kCpus) return ParseCpus(text);
  if (value == Value::kBitRate) return ParseBitRate(text);
  if (value == Value::kNetClass) return ParseNetClass(text);
  if (value == Value::kSwap && text == "-1") return int64_t{-1};
  return formats::ParseBinarySize(text);
}

std::string_view TypeOf(Value value) {
  if (value == Value::kNumber) return "int";
  if (value == Value::kBitRate) return "rate";
  if (value == Value::kNetClass) return "class";
  return value == Value::kCpus ? "decimal" : "bytes";
}

}  // namespace

void BindResourceNumbers(Flags* flags, ResourceFlags which, NumberFields* numbers) {
  for (const NumberFlag& flag : kFlags) {
    if (which == ResourceFlags::kOfUpdate && !flag.of_update) continue;
    flags->Custom(
        flag.name, flag.shorthand, TypeOf(flag.value),
        [numbers, &flag](const std::string& text) -> Result<> {
          int64_t number = TRY(Parse(text, flag.value));
          if (flag.value != Value::kIgnored) (*numbers)[flag.field] = number;
          return {};
        },
        flag.help);
  }
}

}  // namespace gantry::cli
