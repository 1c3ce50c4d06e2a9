// SPDX-License-Identifier: Apache-2.0
//
// What `spec` writes: a config.json to begin with.
#include <unistd.h>

#include "runtime/operations.h"

namespace gantry::runtime {

using formats::Json;

namespace {

Json Strings(std::initializer_list<const char*> values) {
  Json array = Json::MakeArray();
  for (const char* value : values) array.Append(value);
  return array;
}

Json Mount(const char* destination, const char* type, const char* source,
           std::initializer_list<const char*> options) {
  return Json::MakeObject({{"destination", destination},
                           {"type", type},
                           {"source", source},
                           {"options", Strings(options)}});
}

// One id of the caller's as root: all that a user may map without help.
Json OneId(unsigned id) {
  return Json::MakeArray({Json::MakeObject({{"containerID", 0}, {"hostID", id}, {"size", 1}})});
}

}  // namespace

Json DefaultSpec() {
  Json sets = Json::MakeObject();
  for (const char* set : {"bounding", "effective", "permitted"}) {
    sets.Set(set, Strings({"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}));
  }
  Json process = Json::MakeObject(
      {{"terminal", true},
       {"user", Json::MakeObject({{"uid", 0}, {"gid", 0}})},
       {"args", Strings({"sh"})},
       {"env", Strings({"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                        "TERM=xterm"})},
       {"cwd", "/"},
       {"capabilities", std::move(sets)},
       {"rlimits", Json::MakeArray({Json::MakeObject(
                       {{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}})})},
       {"noNewPrivileges", true}});
  Json mounts = Json::MakeArray(
      {Mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
       Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
       Mount("/dev/pts", "devpts", "devpts",
             {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
       Mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
       Mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
       Mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
       Mount("/sys/fs/cgroup", "cgroup", "cgroup",
             {"nosuid", "noexec", "nodev", "relatime", "ro"})});
  Json namespaces = Json::MakeArray();
  for (const char* type : {"pid", "network", "ipc", "uts", "mount", "cgroup"}) {
    namespaces.Append(Json::MakeObject({{"type", type}}));
  }
  Json deny = Json::MakeObject({{"allow", false}, {"access", "rwm"}});
  Json linux_section = Json::MakeObject(
      {{"resources", Json::MakeObject({{"devices", Json::MakeArray({std::move(deny)})}})},
       {"namespaces", std::move(namespaces)},
       {"maskedPaths", Strings({"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                                "/proc/sched_debug", "/sys/firmware", "/proc/scsi"})},
       {"readonlyPaths",
        Strings({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"})}});
  return Json::MakeObject({{"ociVersion", std::string(oci::kRuntimeSpecVersion)},
                           {"process", std::move(process)},
                           {"root", Json::MakeObject({{"path", "rootfs"}, {"readonly", true}})},
                           {"hostname", "gantry"},
                           {"mounts", std::move(mounts)},
                           {"linux", std::move(linux_section)}});
}

Json RootlessSpec() {
  Json spec = DefaultSpec();
  // The host's network: a user may make a network namespace, but connect it to nothing.
  Json namespaces = Json::MakeArray();
  for (const char* type : {"pid", "ipc", "uts", "mount", "cgroup", "user"}) {
    namespaces.Append(Json::MakeObject({{"type", type}}));
  }
  Json& platform = spec.MutableMember("linux");
  platform.Set("namespaces", std::move(namespaces));
  platform.Set("uidMappings", OneId(::geteuid()));
  platform.Set("gidMappings", OneId(::getegid()));
  platform.Erase("resources");
  Json mounts = Json::MakeArray();
  for (const Json& mount : spec["mounts"].items()) {
    const std::string& destination = mount["destination"].AsString();
    if (destination == "/dev/pts") {
      // Group 5 is not mapped.
      mounts.Append(Mount("/dev/pts", "devpts", "devpts",
                          {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}));
    } else if (destination == "/sys") {
      // sysfs can be mounted by who owns the network namespace.
      mounts.Append(Mount("/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"}));
    } else if (destination != "/sys/fs/cgroup") {
      mounts.Append(mount);
    }
  }
  spec.Set("mounts", std::move(mounts));
  return spec;
}

}  // namespace gantry::runtime
