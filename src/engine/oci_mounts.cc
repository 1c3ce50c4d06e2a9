// SPDX-License-Identifier: Apache-2.0
#include "engine/oci_mounts.h"

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "engine/security_options.h"

namespace gantry::engine {
namespace {

std::vector<oci::Mount> DefaultMounts(const SpecRequest& request) {
  const HostConfig& host = *request.host;
  std::vector<oci::Mount> mounts = {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, {}, {}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, {}, {}},
      {"/dev/pts",
       "devpts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
       {},
       {}},
      {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}, {}, {}},
      {"/sys/fs/cgroup", "cgroup", "cgroup", {"ro", "nosuid", "noexec", "nodev"}, {}, {}},
      {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, {}, {}},
  };
  if (!request.shm_source.empty()) {
    std::vector<std::string> options = {"rbind", "rprivate"};
    if (request.remap != nullptr && host.ipc_mode != "host") options.emplace_back(kMapped);
    mounts.push_back({"/dev/shm", "bind", request.shm_source, options, {}, {}});
  } else if (host.ipc_mode != "none") {
    mounts.push_back(
        {"/dev/shm",
         "tmpfs",
         "shm",
         {"nosuid", "noexec", "nodev", "mode=1777", fmt::format("size={}", host.shm_size)},
         {},
         {}});
  }
  return mounts;
}

// A flag that a later option takes back: "exec" after "noexec".
std::string Opposite(const std::string& option) {
  for (std::string_view flag : {"exec", "suid", "dev", "atime", "diratime"}) {
    if (option == flag) return "no" + option;
    if (option.size() == flag.size() + 2 && option.starts_with("no") && option.ends_with(flag)) {
      return std::string(flag);
    }
  }
  if (option == "rw") return "ro";
  if (option == "ro") return "rw";
  return "";
}

oci::Mount MakeTmpfs(const std::string& target, const std::vector<std::string>& options) {
  oci::Mount mount{target, "tmpfs", "tmpfs", {"noexec", "nosuid", "nodev", "rprivate"}, {}, {}};
  for (const std::string& option : options) {
    std::erase(mount.options, Opposite(option));
    std::erase(mount.options, option);
    mount.options.push_back(option);
  }
  return mount;
}

// Of the mount(2) of a "tmpfs" among HostConfig.Mounts.
std::vector<std::string> TmpfsOptionsOf(const MountConfig& mount) {
  std::vector<std::string> out;
  const MountTmpfsOptions options = mount.tmpfs_options.value_or(MountTmpfsOptions{});
  if (options.mode != 0) out.push_back(fmt::format("mode={:o}", options.mode));
  if (options.size_bytes != 0) out.push_back(fmt::format("size={}", options.size_bytes));
  if (mount.read_only) out.push_back("ro");
  for (const std::vector<std::string>& option : options.options) {
    out.push_back(option.size() == 1 ? option[0] : option[0] + "=" + option[1]);
  }
  return out;
}

std::vector<oci::Mount> TmpfsMounts(const HostConfig& host) {
  std::vector<oci::Mount> mounts;
  for (const auto& [target, options] : host.tmpfs) {
    mounts.push_back(MakeTmpfs(target, SplitWords(options, ",")));
  }
  for (const MountConfig& mount : host.mounts) {
    if (mount.type != "tmpfs") continue;
    mounts.push_back(MakeTmpfs(mount.target, TmpfsOptionsOf(mount)));
  }
  return mounts;
}

// Parents before children; what is equally deep keeps its order.
void SortByDepth(std::vector<oci::Mount>* mounts) {
  auto depth = [](const oci::Mount& mount) {
    return std::count(mount.destination.begin(), mount.destination.end(), '/') -
           (mount.destination.ends_with('/') ? 1 : 0);
  };
  std::stable_sort(mounts->begin(), mounts->end(),
                   [&](const oci::Mount& a, const oci::Mount& b) { return depth(a) < depth(b); });
}

}  // namespace

Result<std::vector<oci::Mount>> MakeMounts(const SpecRequest& request) {
  const HostConfig& host = *request.host;
  std::vector<oci::Mount> asked = TmpfsMounts(host);
  asked.insert(asked.end(), request.mounts.begin(), request.mounts.end());
  SortByDepth(&asked);
  auto is_asked = [&](std::string_view destination) {
    return std::any_of(asked.begin(), asked.end(),
                       [&](const oci::Mount& mount) { return mount.destination == destination; });
  };
  for (const oci::Mount& mount : asked) {
    if (mount.destination.empty() || mount.destination[0] != '/' || mount.destination == "/") {
      return InvalidArgument(
          "invalid mount config: invalid mount path: '{}' mount path must be "
          "absolute and not '/'",
          mount.destination);
    }
  }

  SecurityOptions security = TRY(ParseSecurityOptions(host));
  bool own_dev = is_asked("/dev");
  std::vector<oci::Mount> mounts;
  for (oci::Mount& mount : DefaultMounts(request)) {
    if (is_asked(mount.destination) || (own_dev && mount.destination.starts_with("/dev/"))) {
      continue;
    }
    bool writable = (mount.destination == "/sys" && host.privileged) ||
                    (mount.destination == "/sys/fs/cgroup" &&
                     security.writable_cgroups.value_or(host.privileged));
    if (writable) std::erase(mount.options, "ro");
    mounts.push_back(std::move(mount));
  }
  mounts.insert(mounts.end(), asked.begin(), asked.end());
  bool init = host.init.value_or(false) && host.pid_mode.empty();
  if (init) {
    mounts.push_back({"/sbin/docker-init", "bind", request.init_program, {"bind", "ro"}, {}, {}});
  }
  return mounts;
}

}  // namespace gantry::engine
