// SPDX-License-Identifier: Apache-2.0
#include "kernel/cgroups.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/clock.h"
#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"

namespace gantry::kernel {
namespace {

using std::chrono::milliseconds;

bool IsOfType(const std::string& path, unsigned long magic) {
  struct statfs info{};
  return ::statfs(path.c_str(), &info) == 0 && static_cast<unsigned long>(info.f_type) == magic;
}

// Where systemd and everybody after it mounts a v1 hierarchy. "cpu,cpuacct" may also be there only
// by a symlink of one of its names.
std::string MountPointOf(const std::string& controllers) {
  std::string name = controllers.starts_with("name=") ? controllers.substr(5) : controllers;
  std::string path = fmt::format("{}/{}", kCgroupRoot, name);
  if (IsOfType(path, CGROUP_SUPER_MAGIC)) return path;
  for (const std::string& part : SplitWords(controllers, ",")) {
    path = fmt::format("{}/{}", kCgroupRoot, part);
    if (IsOfType(path, CGROUP_SUPER_MAGIC)) return path;
  }
  return "";
}

Result<std::vector<pid_t>> ReadPids(const std::string& path) {
  std::vector<pid_t> pids;
  for (const std::string& line : SplitWords(TRY(ReadFile(path)), "\n")) {
    pid_t pid = 0;
    std::from_chars(line.data(), line.data() + line.size(), pid);
    if (pid > 0) pids.push_back(pid);
  }
  return pids;
}

// The directory and all below it, a parent before its children.
void CollectTree(const std::string& directory, std::vector<std::string>* out) {
  size_t next = out->size();
  out->push_back(directory);
  for (; next < out->size(); ++next) {
    DirectoryHandle stream(::opendir((*out)[next].c_str()));
    while (const dirent* entry = stream ? ::readdir(stream.get()) : nullptr) {
      if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
      out->push_back((*out)[next] + "/" + entry->d_name);
    }
  }
}

Result<> RemoveTree(const std::string& directory, SteadyClock::time_point deadline) {
  // Nearly always there is nothing below, and one rmdir does it.
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  std::vector<std::string> tree;
  CollectTree(directory, &tree);
  for (auto path = tree.rbegin(); path != tree.rend(); ++path) {
    while (::rmdir(path->c_str()) < 0 && errno != ENOENT) {
      if (errno != EBUSY || SteadyClock::now() >= deadline) {
        return ErrnoError("removing cgroup '{}'", *path);
      }
      // No event tells when the last dying task has left.
      ::poll(nullptr, 0, 1);
    }
  }
  return {};
}

}  // namespace

bool CgroupIsUnified() { return IsOfType(kCgroupRoot, CGROUP2_SUPER_MAGIC); }

Result<std::vector<CgroupHierarchy>> CgroupHierarchies(pid_t pid) {
  bool unified = CgroupIsUnified();
  std::string file = pid == 0 ? "/proc/self/cgroup" : fmt::format("/proc/{}/cgroup", pid);
  std::vector<CgroupHierarchy> hierarchies;
  // Lines "ID:controllers:path" (cgroups(7)).
  for (const std::string& line : SplitWords(TRY(ReadFile(file)), "\n")) {
    size_t first = line.find(':');
    size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    CgroupHierarchy hierarchy;
    hierarchy.own_path = line.substr(second + 1);
    if (unified) {
      if (!controllers.empty()) continue;
      hierarchy.mount_point = kCgroupRoot;
    } else {
      if (controllers.empty()) continue;
      hierarchy.mount_point = MountPointOf(controllers);
      if (hierarchy.mount_point.empty()) continue;
      hierarchy.controllers = SplitWords(controllers, ",");
    }
    hierarchies.push_back(std::move(hierarchy));
  }
  return hierarchies;
}

const std::string& CgroupPaths::Of(std::string_view controller) const {
  static const std::string kNone;
  auto found = directories.find(unified ? std::string() : std::string(controller));
  return found != directories.end() ? found->second : kNone;
}

const std::string& CgroupPaths::Main() const {
  for (std::string_view controller : {"freezer", "pids", "memory", "name=systemd"}) {
    if (const std::string& path = Of(controller); !path.empty()) return path;
  }
  static const std::string kNone;
  return directories.empty() ? kNone : directories.begin()->second;
}

Result<CgroupPaths> CgroupPathsOfProcess(pid_t pid) {
  CgroupPaths paths;
  paths.unified = CgroupIsUnified();
  for (const CgroupHierarchy& hierarchy : TRY(CgroupHierarchies(pid))) {
    std::string directory =
        hierarchy.mount_point + (hierarchy.own_path == "/" ? "" : hierarchy.own_path);
    if (hierarchy.controllers.empty()) paths.directories[""] = directory;
    for (const std::string& controller : hierarchy.controllers) {
      paths.directories[controller] = directory;
    }
  }
  return paths;
}

Result<std::vector<pid_t>> CgroupProcesses(const CgroupPaths& paths) {
  std::vector<pid_t> pids;
  if (paths.Main().empty()) return pids;
  std::vector<std::string> tree;
  CollectTree(paths.Main(), &tree);
  for (const std::string& directory : tree) {
    Result<std::vector<pid_t>> found = ReadPids(directory + "/cgroup.procs");
    if (!found.ok()) {
      // Removed meanwhile, or a v2 cgroup in threaded mode, whose processes its root lists.
      int error = found.error().error_number();
      if (error == ENOENT || error == ENODEV || error == EOPNOTSUPP) continue;
      return found;
    }
    pids.insert(pids.end(), found->begin(), found->end());
  }
  return pids;
}

Result<> SignalCgroup(const CgroupPaths& paths, int signal) {
  for (pid_t pid : TRY(CgroupProcesses(paths))) {
    if (::kill(pid, signal) < 0 && errno != ESRCH) {
      return ErrnoError("sending signal {} to process {}", signal, pid);
    }
  }
  return {};
}

Result<> KillCgroup(const CgroupPaths& paths, milliseconds limit) {
  if (paths.unified) {
    Result<> killed = WriteFile(paths.Main() + "/cgroup.kill", "1");
    // cgroup.kill came with 5.14; a cgroup that is gone has nothing to kill.
    if (killed.ok() || !PathExists(paths.Main())) return {};
  }
  SteadyClock::time_point deadline = SteadyClock::now() + limit;
  std::set<pid_t> seen;
  for (;;) {
    std::vector<pid_t> pids = TRY(CgroupProcesses(paths));
    bool fresh = false;
    for (pid_t pid : pids) {
      if (::kill(pid, SIGKILL) < 0 && errno != ESRCH) {
        return ErrnoError("killing process {}", pid);
      }
      fresh |= seen.insert(pid).second;
    }
    if (!fresh) return {};
    if (SteadyClock::now() >= deadline) {
      return MakeError(ErrorKind::kDeadlineExceeded, "killing cgroup '{}': it forks too fast",
                       paths.Main());
    }
  }
}

Result<bool> CgroupIsFrozen(const CgroupPaths& paths) {
  const std::string& directory = paths.Of("freezer");
  if (directory.empty()) return false;
  if (!paths.unified) {
    Result<std::string> state = ReadFile(directory + "/freezer.state");
    if (!state.ok() && state.error().error_number() == ENOENT) return false;
    return TRY(std::move(state)).starts_with("FROZEN");
  }
  Result<std::string> events = ReadFile(directory + "/cgroup.events");
  if (!events.ok() && events.error().error_number() == ENOENT) return false;
  return TRY(std::move(events)).find("frozen 1") != std::string::npos;
}

Result<> FreezeCgroup(const CgroupPaths& paths, Freeze what, milliseconds limit) {
  bool freeze = what == Freeze::kFreeze;
  const std::string& directory = paths.Of("freezer");
  if (directory.empty()) {
    return FailedPrecondition("{} processes: this host has no freezer cgroup",
                              freeze ? "freezing" : "thawing");
  }
  std::string file = directory + (paths.unified ? "/cgroup.freeze" : "/freezer.state");
  std::string_view word = paths.unified ? (freeze ? "1" : "0") : (freeze ? "FROZEN" : "THAWED");
  SteadyClock::time_point deadline = SteadyClock::now() + limit;
  // v1 tries while FREEZING only when the state is written or read, so both are in the loop; a task
  // in uninterruptible sleep is why it can take a while.
  for (;;) {
    TRY(WriteFile(file, word));
    if (TRY(CgroupIsFrozen(paths)) == freeze) return {};
    if (SteadyClock::now() >= deadline) break;
    ::poll(nullptr, 0, 1);
  }
  if (freeze) (void)WriteFile(file, paths.unified ? "0" : "THAWED");
  return MakeError(ErrorKind::kDeadlineExceeded, "{} cgroup '{}': not done after {} ms",
                   freeze ? "freezing" : "thawing", directory, limit.count());
}

Result<> RemoveCgroup(const CgroupPaths& paths, milliseconds limit) {
  SteadyClock::time_point deadline = SteadyClock::now() + limit;
  std::optional<Error> first;
  std::set<std::string_view> done;
  for (const auto& [controller, directory] : paths.directories) {
    if (!done.insert(directory).second) continue;
    Result<> removed = RemoveTree(directory, deadline);
    if (!removed.ok() && !first) first = std::move(removed).error();
  }
  if (first) return *std::move(first);
  return {};
}

Result<> JoinCgroup(const std::string& path, MissingCgroup missing) {
  bool joined = false;
  for (const CgroupHierarchy& one : TRY(CgroupHierarchies(::getpid()))) {
    std::string directory = one.mount_point + "/" + path;
    bool cpuset = std::find(one.controllers.begin(), one.controllers.end(), "cpuset") !=
                  one.controllers.end();
    if (!PathExists(directory)) {
      if (missing == MissingCgroup::kRefuse || cpuset) continue;
      TRY_WITH(MakeDirectories(directory, 0755), "joining cgroup '{}'", path);
    }
    TRY_WITH(WriteFile(directory + "/cgroup.procs", "0"), "joining cgroup '{}'", path);
    joined = true;
  }
  if (!joined) return NotFound("joining cgroup '{}': there is none", path);
  return {};
}

}  // namespace gantry::kernel
