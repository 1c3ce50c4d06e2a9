// SPDX-License-Identifier: Apache-2.0
#include "runtime/systemd_properties.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "runtime/cgroup_setup.h"
#include "runtime/process_settings.h"

namespace gantry::runtime {
namespace {

using formats::DbusValue;

constexpr uint64_t kInfinity = UINT64_MAX;  // systemd's "infinity"
constexpr std::string_view kAnnotation = "org.systemd.property.";

// Those that only say how this scope is accounted, limited, ordered and stopped. Not those that
// start, stop or replace anything else (Wants, Requires, Conflicts, OnFailure, …Action, …), that
// move it (Slice, PIDs, Delegate), or that widen what it may do (DeviceAllow, BPFProgram, …).
constexpr std::string_view kAllowed[] = {
    "After",
    "Before",
    "CollectMode",
    "Description",
    "Documentation",
    "KillMode",
    "KillSignal",
    "SendSIGHUP",
    "SendSIGKILL",
    "TimeoutStopUSec",
    "RuntimeMaxUSec",
    "DefaultDependencies",
    "CPUAccounting",
    "CPUWeight",
    "StartupCPUWeight",
    "CPUQuotaPerSecUSec",
    "MemoryAccounting",
    "MemoryMin",
    "MemoryLow",
    "MemoryHigh",
    "MemoryMax",
    "MemorySwapMax",
    "MemoryZSwapMax",
    "TasksAccounting",
    "TasksMax",
    "IOAccounting",
    "IOWeight",
    "StartupIOWeight",
    "IPAccounting",
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "CPUQuotaPeriodUSec",
    "ManagedOOMSwap",
    "ManagedOOMMemoryPressure",
    "ManagedOOMPreference",
};

// systemd's unit_name_is_valid: these characters, at most 255.
Result<> CheckUnitName(std::string_view name, std::string_view suffix) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view(":-_.\\@").find(c) != std::string_view::npos;
  };
  if (name.size() > 255 || name.size() <= suffix.size() || !name.ends_with(suffix) ||
      name.starts_with('.') || !std::all_of(name.begin(), name.end(), allowed)) {
    return InvalidArgument("linux.cgroupsPath: '{}' is not the name of a systemd unit", name);
  }
  return {};
}

// "a-b.slice" is below "a.slice", so no part may be empty; "-.slice" is the root.
Result<> CheckSliceName(std::string_view name) {
  TRY(CheckUnitName(name, ".slice"));
  if (name == "-.slice") return {};
  std::string_view stem = name.substr(0, name.size() - 6);
  if (stem.starts_with('-') || stem.ends_with('-') || stem.find("--") != std::string_view::npos ||
      stem.find('@') != std::string_view::npos) {
    return InvalidArgument("linux.cgroupsPath: '{}' is not the name of a systemd slice", name);
  }
  return {};
}

uint64_t Limit(int64_t value) { return value < 0 ? kInfinity : static_cast<uint64_t>(value); }

Result<> AddMemory(const oci::Memory& memory, UnitProperties* out) {
  if (memory.limit.value_or(0) != 0) {
    out->emplace_back("MemoryMax", DbusValue::Uint64(Limit(*memory.limit)));
  }
  if (memory.reservation.value_or(0) != 0) {
    out->emplace_back("MemoryLow", DbusValue::Uint64(Limit(*memory.reservation)));
  }
  if (std::optional<int64_t> swap = TRY(SwapAlone(memory))) {
    out->emplace_back("MemorySwapMax", DbusValue::Uint64(Limit(*swap)));
  }
  return {};
}

// systemd keeps whole percents of a processor (10 ms a second) and rounds down; rounded up here, it
// never gives less than was asked for. The cgroup's own file has the exact value.
uint64_t PerSecond(int64_t quota, uint64_t period) {
  constexpr uint64_t kSecond = 1000000;
  constexpr uint64_t kPercent = 10000;
  if (quota <= 0) return kInfinity;
  auto exact = static_cast<__uint128_t>(quota) * kSecond / period;
  auto rounded = (exact + kPercent - 1) / kPercent * kPercent;
  return rounded > kInfinity ? kInfinity : static_cast<uint64_t>(rounded);
}

// A bit for each number, the lowest in the first byte.
Result<DbusValue> NumberMask(const std::string& list, std::string_view field) {
  std::vector<unsigned long> words = TRY(ParseNumberList(list, field));
  std::vector<DbusValue> bytes;
  for (unsigned long word : words) {
    for (size_t i = 0; i < sizeof word; ++i) {
      bytes.push_back(DbusValue::Byte(static_cast<uint8_t>(word >> (8 * i))));
    }
  }
  while (!bytes.empty() && bytes.back().Number() == 0) bytes.pop_back();
  return DbusValue::Array("y", std::move(bytes));
}

Result<> AddCpu(const oci::Cpu& cpu, UnitProperties* out) {
  if (cpu.idle.value_or(0) != 0) {
    out->emplace_back("CPUWeight", DbusValue::Uint64(0));  // "idle"
  } else if (cpu.shares.value_or(0) != 0) {
    out->emplace_back("CPUWeight", DbusValue::Uint64(CpuWeightOfShares(*cpu.shares)));
  }
  uint64_t period = cpu.period.value_or(0);
  if (period != 0) out->emplace_back("CPUQuotaPeriodUSec", DbusValue::Uint64(period));
  if (cpu.quota.value_or(0) != 0) {
    out->emplace_back("CPUQuotaPerSecUSec",
                      DbusValue::Uint64(PerSecond(*cpu.quota, period != 0 ? period : 100000)));
  }
  if (!cpu.cpus.empty()) {
    out->emplace_back("AllowedCPUs", TRY(NumberMask(cpu.cpus, "linux.resources.cpu.cpus")));
  }
  if (!cpu.mems.empty()) {
    out->emplace_back("AllowedMemoryNodes", TRY(NumberMask(cpu.mems, "linux.resources.cpu.mems")));
  }
  return {};
}

void AddThrottle(const std::vector<oci::ThrottleDevice>& devices, const char* name,
                 UnitProperties* out) {
  std::vector<DbusValue> entries;
  for (const oci::ThrottleDevice& device : devices) {
    entries.push_back(DbusValue::Struct(
        {DbusValue::String(fmt::format("/dev/block/{}:{}", device.major, device.minor)),
         DbusValue::Uint64(device.rate == 0 ? kInfinity : device.rate)}));
  }
  if (!entries.empty()) out->emplace_back(name, DbusValue::Array("(st)", std::move(entries)));
}

void AddBlockIo(const oci::BlockIo& block, UnitProperties* out) {
  if (block.weight.value_or(0) != 0) {
    out->emplace_back("IOWeight", DbusValue::Uint64(IoWeightOf(*block.weight)));
  }
  AddThrottle(block.throttle_read_bps_device, "IOReadBandwidthMax", out);
  AddThrottle(block.throttle_write_bps_device, "IOWriteBandwidthMax", out);
  AddThrottle(block.throttle_read_iops_device, "IOReadIOPSMax", out);
  AddThrottle(block.throttle_write_iops_device, "IOWriteIOPSMax", out);
}

bool IsAll(const oci::DeviceRule& rule) { return rule.type.empty() || rule.type == "a"; }

// systemd's list only allows, and names one device, all of a major, or all of a type. What is more
// than that it can't say; then it allows everything and the cgroup's own program decides alone.
std::optional<std::vector<DbusValue>> DeviceList(const std::vector<oci::DeviceRule>& rules) {
  std::vector<DbusValue> list;
  auto add = [&](std::string device, const std::string& access) {
    list.push_back(DbusValue::Struct({DbusValue::String(std::move(device)),
                                      DbusValue::String(access.empty() ? "rwm" : access)}));
  };
  bool everything = false;
  for (const oci::DeviceRule& rule : rules) {
    bool whole = IsAll(rule) && (rule.access.empty() || rule.access.size() == 3);
    if (whole) {
      everything = rule.allow;
      list.clear();
      continue;
    }
    if (everything && rule.allow) continue;
    if (!rule.allow) return std::nullopt;
    bool any_major = !rule.major || *rule.major < 0;
    bool any_minor = !rule.minor || *rule.minor < 0;
    if (IsAll(rule)) {
      add("char-*", rule.access);
      add("block-*", rule.access);
      continue;
    }
    const char* kind = rule.type == "b" ? "block" : "char";
    if (any_major && !any_minor) return std::nullopt;
    if (any_major) {
      add(fmt::format("{}-*", kind), rule.access);
    } else if (any_minor) {
      add(fmt::format("{}-{}", kind, *rule.major), rule.access);
    } else {
      add(fmt::format("/dev/{}/{}:{}", kind, *rule.major, *rule.minor), rule.access);
    }
  }
  if (everything) return std::nullopt;
  return list;
}

void AddDevices(const std::vector<oci::DeviceRule>& rules, UnitProperties* out) {
  std::optional<std::vector<DbusValue>> list = DeviceList(EffectiveDeviceRules(rules));
  out->emplace_back("DevicePolicy", DbusValue::String(list ? "strict" : "auto"));
  // An empty list forgets those before; others are added to them.
  out->emplace_back("DeviceAllow", DbusValue::Array("(ss)", {}));
  if (list && !list->empty()) {
    out->emplace_back("DeviceAllow", DbusValue::Array("(ss)", *std::move(list)));
  }
}

uint64_t LimitOf(std::string_view text) {
  return text.starts_with("max") ? kInfinity
                                 : std::strtoull(std::string(text).c_str(), nullptr, 10);
}

// Files of linux.resources.unified that have a property.
Result<> AddUnified(const std::map<std::string, std::string>& unified, UnitProperties* out) {
  struct Known {
    std::string_view file;
    const char* property;
  };
  constexpr Known kLimits[] = {
      {"memory.max", "MemoryMax"},          {"memory.high", "MemoryHigh"},
      {"memory.low", "MemoryLow"},          {"memory.min", "MemoryMin"},
      {"memory.swap.max", "MemorySwapMax"}, {"pids.max", "TasksMax"},
      {"cpu.weight", "CPUWeight"},
  };
  for (const auto& [file, value] : unified) {
    for (const Known& known : kLimits) {
      if (file == known.file) out->emplace_back(known.property, DbusValue::Uint64(LimitOf(value)));
    }
    if (file == "cpuset.cpus") {
      out->emplace_back("AllowedCPUs", TRY(NumberMask(value, "linux.resources.unified")));
    } else if (file == "cpuset.mems") {
      out->emplace_back("AllowedMemoryNodes", TRY(NumberMask(value, "linux.resources.unified")));
    } else if (file == "cpu.idle" && value == "1") {
      out->emplace_back("CPUWeight", DbusValue::Uint64(0));
    } else if (file == "cpu.max") {
      // "QUOTA [PERIOD]"
      size_t space = value.find(' ');
      uint64_t quota = LimitOf(value);
      uint64_t period = space == std::string::npos ? 100000 : LimitOf(value.substr(space + 1));
      if (period == 0) return InvalidArgument("linux.resources.unified: cpu.max '{}'", value);
      out->emplace_back("CPUQuotaPeriodUSec", DbusValue::Uint64(period));
      out->emplace_back(
          "CPUQuotaPerSecUSec",
          DbusValue::Uint64(quota == kInfinity ? kInfinity
                                               : PerSecond(static_cast<int64_t>(quota), period)));
    }
  }
  return {};
}

// Seconds as any number become microseconds.
Result<DbusValue> Microseconds(std::string_view name, const DbusValue& value) {
  double seconds = 0;
  if (const int64_t* number = std::get_if<int64_t>(&value.value)) {
    seconds = static_cast<double>(*number);
  } else if (const uint64_t* unsigned_number = std::get_if<uint64_t>(&value.value)) {
    if (*unsigned_number == kInfinity) return DbusValue::Uint64(kInfinity);
    seconds = static_cast<double>(*unsigned_number);
  } else if (const double* real = std::get_if<double>(&value.value)) {
    seconds = *real;
  } else {
    return InvalidArgument("annotation '{}{}': not a number of seconds", kAnnotation, name);
  }
  if (!(seconds >= 0 && seconds < 1e12)) {
    return InvalidArgument("annotation '{}{}': out of range", kAnnotation, name);
  }
  return DbusValue::Uint64(static_cast<uint64_t>(seconds * 1e6));
}

}  // namespace

Result<ScopeName> ParseScopePath(const std::string& cgroups_path, const std::string& id,
                                 std::string_view default_slice) {
  std::string path = cgroups_path.empty() ? ":gantry:" + id : cgroups_path;
  size_t first = path.find(':');
  size_t second = first == std::string::npos ? first : path.find(':', first + 1);
  if (second == std::string::npos || path.find('/') != std::string::npos) {
    return InvalidArgument(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got "
        "\"{}\" instead",
        cgroups_path);
  }
  ScopeName out;
  out.slice = path.substr(0, first);
  if (out.slice.empty()) out.slice = default_slice;
  std::string prefix = path.substr(first + 1, second - first - 1);
  if (!prefix.empty()) prefix += '-';
  out.unit = fmt::format("{}{}.scope", prefix, path.substr(second + 1));
  TRY(CheckSliceName(out.slice));
  TRY(CheckUnitName(out.unit, ".scope"));
  return out;
}

Result<UnitProperties> ResourceProperties(const oci::Resources& resources,
                                          DeviceProperties devices) {
  UnitProperties out;
  if (resources.memory) TRY(AddMemory(*resources.memory, &out));
  if (resources.cpu) TRY(AddCpu(*resources.cpu, &out));
  if (resources.pids && resources.pids->limit != 0) {
    out.emplace_back("TasksMax", DbusValue::Uint64(Limit(resources.pids->limit)));
  }
  if (resources.block_io) AddBlockIo(*resources.block_io, &out);
  if (devices == DeviceProperties::kInclude && !resources.devices.empty()) {
    AddDevices(resources.devices, &out);
  }
  TRY(AddUnified(resources.unified, &out));
  return out;
}

Result<UnitProperties> AnnotatedProperties(const std::map<std::string, std::string>& annotations) {
  UnitProperties out;
  for (const auto& [key, text] : annotations) {
    if (!key.starts_with(kAnnotation)) continue;
    std::string name = key.substr(kAnnotation.size());
    DbusValue value = TRY_WITH(formats::ParseDbusText(text), "annotation '{}'", key);
    if (name.ends_with("Sec") && !name.ends_with("USec")) {
      value = TRY(Microseconds(name, value));
      name = name.substr(0, name.size() - 3) + "USec";
    }
    if (std::find(std::begin(kAllowed), std::end(kAllowed), name) == std::end(kAllowed)) {
      return MakeError(ErrorKind::kPermissionDenied,
                       "annotation '{}': not a property that a container may set", key);
    }
    out.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

}  // namespace gantry::runtime
