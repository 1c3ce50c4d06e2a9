// SPDX-License-Identifier: Apache-2.0
#include "runtime/id_maps.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/io.h"
#include "kernel/spawn.h"

namespace gantry::runtime {
namespace {

// The kernel's PROC_USER_INIT_INO: the number of the first one is fixed.
constexpr ino_t kFirstUserNamespace = 0xEFFFFFFDU;

// What the kernel lets anybody map: one id, their own.
bool IsOnly(const std::vector<oci::IdMapping>& mappings, uint32_t own) {
  return mappings.size() == 1 && mappings[0].size == 1 && mappings[0].host_id == own;
}

// newuidmap PID CONTAINER HOST SIZE …
Result<> RunHelper(const std::string& name, pid_t pid,
                   const std::vector<oci::IdMapping>& mappings) {
  kernel::SpawnOptions helper;
  Result<std::string> program = kernel::FindInPath(name);
  if (!program.ok()) {
    return NotFound(
        "{} is not in PATH (an unprivileged user can map more than its own id only with it)", name);
  }
  helper.program = *std::move(program);
  helper.args = {name, fmt::format("{}", pid)};
  for (const oci::IdMapping& mapping : mappings) {
    for (uint32_t number : {mapping.container_id, mapping.host_id, mapping.size}) {
      helper.args.push_back(fmt::format("{}", number));
    }
  }
  helper.fds = {{2, 2}};
  kernel::ExitStatus status = TRY(kernel::SpawnAndWait(helper));
  if (status.ShellCode() == 0) return {};
  return MakeError(ErrorKind::kPermissionDenied,
                   "{} ended with {} (do /etc/subuid and /etc/subgid "
                   "give these ids to the user?)",
                   name, status.ShellCode());
}

}  // namespace

std::string IdMapLines(const std::vector<oci::IdMapping>& mappings) {
  std::string lines;
  for (const oci::IdMapping& mapping : mappings) {
    lines += fmt::format("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size);
  }
  return lines;
}

bool IsUnprivileged() {
  if (::geteuid() != 0) return true;
  struct stat info{};
  return ::stat("/proc/self/ns/user", &info) == 0 && info.st_ino != kFirstUserNamespace;
}

Result<> WriteIdMaps(pid_t pid, const oci::LinuxPlatform& platform) {
  if (platform.uid_mappings.empty() || platform.gid_mappings.empty()) {
    return InvalidArgument("linux.uidMappings: a user namespace needs mappings");
  }
  bool root = ::geteuid() == 0;
  std::string place = fmt::format("/proc/{}", pid);
  if (root || IsOnly(platform.uid_mappings, ::geteuid())) {
    TRY(WriteFile(place + "/uid_map", IdMapLines(platform.uid_mappings)));
  } else {
    TRY(RunHelper("newuidmap", pid, platform.uid_mappings));
  }
  if (!root && !IsOnly(platform.gid_mappings, ::getegid())) {
    return RunHelper("newgidmap", pid, platform.gid_mappings);
  }
  // Else a user could leave a group that denies it something (user_namespaces(7)).
  if (!root) TRY(WriteFile(place + "/setgroups", "deny"));
  return WriteFile(place + "/gid_map", IdMapLines(platform.gid_mappings));
}

}  // namespace gantry::runtime
