// SPDX-License-Identifier: Apache-2.0
#include "engine/cgroup_features.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/io.h"
#include "base/text.h"

namespace gantry::engine {
namespace {

// docker's bound (CVE-2018-20699): a list is expanded to look at each number.
constexpr int kMaxNumber = 8192;

// The directory of a controller's hierarchy; "" when it is mounted nowhere.
std::string DirectoryOf(const std::vector<kernel::CgroupHierarchy>& hierarchies,
                        std::string_view controller) {
  for (const kernel::CgroupHierarchy& hierarchy : hierarchies) {
    const auto& names = hierarchy.controllers;
    if (std::find(names.begin(), names.end(), controller) != names.end()) {
      return hierarchy.mount_point;
    }
  }
  return "";
}

bool Exists(const std::string& directory, std::string_view file) {
  return !directory.empty() && ::access(fmt::format("{}/{}", directory, file).c_str(), F_OK) == 0;
}

std::string FirstLine(const std::string& path) {
  Result<std::string> text = ReadFile(path);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

CgroupFeatures FeaturesOfV1(const std::vector<kernel::CgroupHierarchy>& hierarchies) {
  CgroupFeatures out;
  std::string memory = DirectoryOf(hierarchies, "memory");
  out.memory = !memory.empty();
  out.swap = Exists(memory, "memory.memsw.limit_in_bytes");
  out.memory_reservation = Exists(memory, "memory.soft_limit_in_bytes");
  out.kernel_memory = Exists(memory, "memory.kmem.limit_in_bytes");
  out.kernel_memory_tcp = Exists(memory, "memory.kmem.tcp.limit_in_bytes");
  out.oom_kill_disable = Exists(memory, "memory.oom_control");
  out.swappiness = Exists(memory, "memory.swappiness");
  out.pids = !DirectoryOf(hierarchies, "pids").empty();
  std::string cpu = DirectoryOf(hierarchies, "cpu");
  out.cpu_shares = Exists(cpu, "cpu.shares");
  out.cpu_quota = Exists(cpu, "cpu.cfs_quota_us");
  out.cpu_realtime = Exists(cpu, "cpu.rt_period_us");
  std::string cpuset = DirectoryOf(hierarchies, "cpuset");
  out.cpuset = !cpuset.empty();
  if (out.cpuset) {
    out.cpus = FirstLine(cpuset + "/cpuset.cpus");
    out.mems = FirstLine(cpuset + "/cpuset.mems");
  }
  std::string blkio = DirectoryOf(hierarchies, "blkio");
  out.blkio_weight = Exists(blkio, "blkio.weight");
  out.blkio_weight_device = Exists(blkio, "blkio.weight_device");
  out.blkio_read_bps = Exists(blkio, "blkio.throttle.read_bps_device");
  out.blkio_write_bps = Exists(blkio, "blkio.throttle.write_bps_device");
  out.blkio_read_iops = Exists(blkio, "blkio.throttle.read_iops_device");
  out.blkio_write_iops = Exists(blkio, "blkio.throttle.write_iops_device");
  out.net_cls = !DirectoryOf(hierarchies, "net_cls").empty();
  out.net_prio = !DirectoryOf(hierarchies, "net_prio").empty();
  return out;
}

CgroupFeatures FeaturesOfV2(const kernel::CgroupHierarchy& hierarchy) {
  CgroupFeatures out;
  out.unified = true;
  const std::string& root = hierarchy.mount_point;
  std::vector<std::string> controllers = SplitWords(FirstLine(root + "/cgroup.controllers"));
  auto has = [&](std::string_view name) {
    return std::find(controllers.begin(), controllers.end(), name) != controllers.end();
  };
  out.memory = out.memory_reservation = has("memory");
  // The root has no limits of its own, so the file is looked for where this process is.
  out.swap = out.memory && Exists(root + hierarchy.own_path, "memory.swap.max");
  out.pids = has("pids");
  out.cpu_shares = out.cpu_quota = has("cpu");
  out.cpuset = has("cpuset");
  if (out.cpuset) {
    out.cpus = FirstLine(root + "/cpuset.cpus.effective");
    out.mems = FirstLine(root + "/cpuset.mems.effective");
  }
  out.blkio_weight = out.blkio_weight_device = out.blkio_read_bps = out.blkio_write_bps =
      out.blkio_read_iops = out.blkio_write_iops = has("io");
  return out;
}

Result<std::set<int>> ParseNumbers(std::string_view list) {
  std::set<int> out;
  if (list.empty()) return out;
  auto number = [&](std::string_view text) -> Result<int> {
    int value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) {
      return InvalidArgument("invalid format: {}", list);
    }
    if (value > kMaxNumber) {
      return InvalidArgument("value of out range, maximum is {}", kMaxNumber);
    }
    return value;
  };
  for (const std::string& range : Split(list, ',')) {
    size_t dash = range.find('-');
    std::string_view view(range);
    int first = TRY(number(view.substr(0, dash)));
    int last = dash == std::string::npos ? first : TRY(number(view.substr(dash + 1)));
    if (last < first) return InvalidArgument("invalid format: {}", list);
    for (int value = first; value <= last; ++value) out.insert(value);
  }
  return out;
}

}  // namespace

CgroupFeatures FeaturesOf(bool unified, const std::vector<kernel::CgroupHierarchy>& hierarchies) {
  if (!unified) return FeaturesOfV1(hierarchies);
  return hierarchies.empty() ? CgroupFeatures{} : FeaturesOfV2(hierarchies.front());
}

Result<CgroupFeatures> ReadCgroupFeatures() {
  return FeaturesOf(kernel::CgroupIsUnified(), TRY(kernel::CgroupHierarchies(0)));
}

std::vector<std::string> WarningsOf(const CgroupFeatures& features) {
  std::vector<std::string> out;
  auto need = [&out](bool there, std::string_view what) {
    if (!there) out.push_back(fmt::format("WARNING: No {} support", what));
  };
  // What one version can't do on any kernel is nothing that the user could mend.
  bool v2 = features.unified;
  need(features.memory, "memory limit");
  need(features.swap, "swap limit");
  need(features.oom_kill_disable || v2, "oom kill disable");
  need(features.cpu_quota, "cpu cfs quota");
  need(features.cpu_quota, "cpu cfs period");
  need(features.cpu_shares, "cpu shares");
  need(features.cpuset, "cpuset");
  need(features.blkio_weight || !v2, "io.weight");
  need(features.blkio_weight_device || !v2, "io.weight (per device)");
  need(features.blkio_read_bps, v2 ? "io.max (rbps)" : "blkio throttle.read_bps_device");
  need(features.blkio_write_bps, v2 ? "io.max (wbps)" : "blkio throttle.write_bps_device");
  need(features.blkio_read_iops, v2 ? "io.max (riops)" : "blkio throttle.read_iops_device");
  need(features.blkio_write_iops, v2 ? "io.max (wiops)" : "blkio throttle.write_iops_device");
  return out;
}

Result<bool> IsInCpuset(std::string_view wanted, std::string_view available) {
  std::set<int> asked = TRY(ParseNumbers(wanted));
  std::set<int> there = TRY(ParseNumbers(available));
  return std::includes(there.begin(), there.end(), asked.begin(), asked.end());
}

}  // namespace gantry::engine
