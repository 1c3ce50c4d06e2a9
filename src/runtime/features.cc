// SPDX-License-Identifier: Apache-2.0
//
// `features` (runtime-spec features.md): only what this program really does.
#include "kernel/capability_names.h"
#include "kernel/mount_options.h"
#include "runtime/operations.h"

namespace gantry::runtime {

using formats::Json;

namespace {

Json Enabled(bool enabled) { return Json::MakeObject({{"enabled", enabled}}); }

Json SeccompFeatures() {
  Json flags =
      Json::MakeArray({"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                       "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"});
  return Json::MakeObject(
      {{"enabled", true},
       {"actions", Json::MakeArray({"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL",
                                    "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
                                    "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"})},
       {"operators", Json::MakeArray({"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE",
                                      "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"})},
#if defined(__x86_64__)
       {"archs", Json::MakeArray({"SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"})},
#else
       {"archs", Json::MakeArray({"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"})},
#endif
       {"knownFlags", flags},
       {"supportedFlags", flags}});
}

}  // namespace

Json Features() {
  Json options = Json::MakeArray();
  for (std::string_view option : kernel::KnownMountOptions()) {
    options.Append(option);
  }
  Json capabilities = Json::MakeArray();
  for (std::string_view name : kernel::CapabilityNames()) capabilities.Append(name);
  Json linux_features = Json::MakeObject(
      {{"namespaces",
        Json::MakeArray({"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"})},
       {"capabilities", std::move(capabilities)},
       {"cgroup", Json::MakeObject({{"v1", true},
                                    {"v2", true},
                                    {"systemd", true},
                                    {"systemdUser", true},
                                    {"rdma", true}})},
       {"seccomp", SeccompFeatures()},
       {"apparmor", Enabled(true)},
       {"selinux", Enabled(true)},
       {"intelRdt",
        Json::MakeObject({{"enabled", true}, {"schemata", true}, {"monitoring", true}})},
       {"netDevices", Enabled(true)},
       {"memoryPolicy",
        Json::MakeObject(
            {{"modes",
              Json::MakeArray({"MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE",
                               "MPOL_LOCAL", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"})},
             {"flags", Json::MakeArray({"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES",
                                        "MPOL_F_STATIC_NODES"})}})},
       {"mountExtensions", Json::MakeObject({{"idmap", Enabled(true)}})}});
  return Json::MakeObject(
      {{"ociVersionMin", "1.0.0"},
       {"ociVersionMax", std::string(oci::kRuntimeSpecVersion)},
       {"hooks", Json::MakeArray({"prestart", "createRuntime", "createContainer", "startContainer",
                                  "poststart", "poststop"})},
       {"mountOptions", std::move(options)},
       {"linux", std::move(linux_features)},
       {"annotations", Json::MakeObject({{"org.gantry.version", GANTRY_VERSION},
                                         {"org.gantry.root-fd", "1"},
                                         {"org.opencontainers.runc.checkpoint.enabled", "false"}})},
       {"potentiallyUnsafeConfigAnnotations", Json::MakeArray({"org.systemd.property."})}});
}

}  // namespace gantry::runtime
