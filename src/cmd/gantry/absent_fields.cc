// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/absent_fields.h"

namespace gantry::cli {
namespace {

using formats::Json;

enum class Zero : uint8_t { kNull, kText, kNumber, kFalse };

struct Absent {
  // The object is the value of a member of this name,
  std::string_view parent;
  // or it has this one, which all of its type have.
  std::string_view sibling;
  std::string_view field;
  Zero zero;
};

constexpr Absent kAbsent[] = {
    // Containers.
    {"", "RestartCount", "ExecIDs", Zero::kNull},
    {"", "RestartCount", "ImageManifestDescriptor", Zero::kNull},
    {"", "RestartCount", "SizeRootFs", Zero::kNull},
    {"", "RestartCount", "SizeRw", Zero::kNull},
    {"State", "OOMKilled", "Health", Zero::kNull},
    {"Config", "AttachStdin", "ArgsEscaped", Zero::kFalse},
    {"Config", "AttachStdin", "ExposedPorts", Zero::kNull},
    {"Config", "AttachStdin", "Healthcheck", Zero::kNull},
    {"Config", "AttachStdin", "MacAddress", Zero::kText},
    {"Config", "AttachStdin", "NetworkDisabled", Zero::kFalse},
    {"Config", "AttachStdin", "OnBuild", Zero::kNull},
    {"Config", "AttachStdin", "Shell", Zero::kNull},
    {"Config", "AttachStdin", "StopSignal", Zero::kText},
    {"Config", "AttachStdin", "StopTimeout", Zero::kNull},
    {"Healthcheck", "", "Interval", Zero::kNumber},
    {"Healthcheck", "", "Retries", Zero::kNumber},
    {"Healthcheck", "", "StartInterval", Zero::kNumber},
    {"Healthcheck", "", "StartPeriod", Zero::kNumber},
    {"Healthcheck", "", "Test", Zero::kNull},
    {"Healthcheck", "", "Timeout", Zero::kNumber},
    {"HostConfig", "RestartPolicy", "Annotations", Zero::kNull},
    {"HostConfig", "RestartPolicy", "Init", Zero::kNull},
    {"HostConfig", "RestartPolicy", "Mounts", Zero::kNull},
    {"HostConfig", "RestartPolicy", "OomKillDisable", Zero::kNull},
    {"HostConfig", "RestartPolicy", "PidsLimit", Zero::kNull},
    {"HostConfig", "RestartPolicy", "Runtime", Zero::kText},
    {"HostConfig", "RestartPolicy", "StorageOpt", Zero::kNull},
    {"HostConfig", "RestartPolicy", "Sysctls", Zero::kNull},
    {"HostConfig", "RestartPolicy", "Tmpfs", Zero::kNull},
    {"", "Propagation", "Driver", Zero::kText},
    {"", "Propagation", "Name", Zero::kText},
    {"", "Propagation", "Source", Zero::kText},
    {"", "Target", "BindOptions", Zero::kNull},
    {"", "Target", "Consistency", Zero::kText},
    {"", "Target", "ImageOptions", Zero::kNull},
    {"", "Target", "ReadOnly", Zero::kFalse},
    {"", "Target", "Source", Zero::kText},
    {"", "Target", "TmpfsOptions", Zero::kNull},
    {"", "Target", "VolumeOptions", Zero::kNull},
    {"IPAMConfig", "", "IPv4Address", Zero::kText},
    {"IPAMConfig", "", "IPv6Address", Zero::kText},
    {"IPAMConfig", "", "LinkLocalIPs", Zero::kNull},
    // Images.
    {"", "RootFS", "Author", Zero::kText},
    {"", "RootFS", "Comment", Zero::kText},
    {"", "RootFS", "Container", Zero::kText},
    {"", "RootFS", "Created", Zero::kText},
    {"", "RootFS", "Descriptor", Zero::kNull},
    {"", "RootFS", "DockerVersion", Zero::kText},
    {"", "RootFS", "Manifests", Zero::kNull},
    {"", "RootFS", "OsVersion", Zero::kText},
    {"", "RootFS", "Parent", Zero::kText},
    {"", "RootFS", "Variant", Zero::kText},
    {"", "RootFS", "VirtualSize", Zero::kNumber},
    {"RootFS", "", "Layers", Zero::kNull},
    {"Config", "", "Cmd", Zero::kNull},
    {"Config", "", "Entrypoint", Zero::kNull},
    {"Config", "", "Env", Zero::kNull},
    {"Config", "", "Labels", Zero::kNull},
    {"Config", "", "User", Zero::kText},
    {"Config", "", "Volumes", Zero::kNull},
    {"Config", "", "WorkingDir", Zero::kText},
    // Networks and volumes.
    {"", "Subnet", "AuxiliaryAddresses", Zero::kNull},
    {"", "Subnet", "Gateway", Zero::kText},
    {"", "Subnet", "IPRange", Zero::kText},
    {"", "Mountpoint", "ClusterVolume", Zero::kNull},
    {"", "Mountpoint", "CreatedAt", Zero::kText},
    {"", "Mountpoint", "Status", Zero::kNull},
    {"", "Mountpoint", "UsageData", Zero::kNull},
};

Json ValueOf(Zero zero) {
  switch (zero) {
    case Zero::kText:
      return Json("");
    case Zero::kNumber:
      return Json(0);
    case Zero::kFalse:
      return Json(false);
    case Zero::kNull:
      break;
  }
  return Json();
}

// Fields of Go's types whose name in JSON is another.
constexpr struct {
  std::string_view field, member;
} kRenamed[] = {{"ID", "Id"},
                {"ParentID", "ParentId"},
                {"HostIP", "HostIp"},
                {"CPUCount", "CpuCount"},
                {"CPUPercent", "CpuPercent"},
                {"CPUPeriod", "CpuPeriod"},
                {"CPUQuota", "CpuQuota"},
                {"CPURealtimePeriod", "CpuRealtimePeriod"},
                {"CPURealtimeRuntime", "CpuRealtimeRuntime"},
                {"CPUShares", "CpuShares"},
                {"NanoCPUs", "NanoCpus"},
                {"DNS", "Dns"},
                {"DNSOptions", "DnsOptions"},
                {"DNSSearch", "DnsSearch"}};

}  // namespace

std::optional<Json> AbsentField(const Json& object, std::string_view parent,
                                std::string_view field) {
  for (const auto& renamed : kRenamed) {
    const Json* member = renamed.field == field ? object.Find(renamed.member) : nullptr;
    if (member != nullptr && parent != "Labels") return *member;
  }
  for (const Absent& absent : kAbsent) {
    if (absent.field != field) continue;
    bool of_parent = !absent.parent.empty() && absent.parent == parent;
    bool of_sibling = !absent.sibling.empty() && object.Find(absent.sibling) != nullptr;
    if (of_parent || of_sibling) return ValueOf(absent.zero);
  }
  return std::nullopt;
}

}  // namespace gantry::cli
