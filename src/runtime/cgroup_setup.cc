// SPDX-License-Identifier: Apache-2.0
#include "runtime/cgroup_setup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/io.h"

namespace gantry::runtime {
namespace {

std::string Joined(const std::string& base, const std::string& path) {
  std::string out = base == "/" ? "" : base;
  // A cgroupsPath with ".." would leave the hierarchy.
  size_t at = 0;
  while (at <= path.size()) {
    size_t slash = std::min(path.find('/', at), path.size());
    std::string part = path.substr(at, slash - at);
    if (!part.empty() && part != "." && part != "..") out += "/" + part;
    at = slash + 1;
  }
  return out;
}

Result<std::string> ReadLine(const std::string& directory, const char* file) {
  std::string text = TRY(ReadFile(fmt::format("{}/{}", directory, file)));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

// A new v1 cpuset has no processors and no memory nodes, and takes no process then; each level
// inherits from the one above, which another runtime may have made a moment ago and not filled yet
// (or for good, if it was killed there).
Result<> InheritCpuset(const std::string& directory) {
  std::string parent = directory.substr(0, directory.rfind('/'));
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    if (!TRY(ReadLine(directory, file)).empty()) continue;
    std::string above = TRY(ReadLine(parent, file));
    if (above.empty()) {
      TRY(InheritCpuset(parent));
      above = TRY(ReadLine(parent, file));
    }
    TRY(WriteCgroup(directory, file, above));
  }
  return {};
}

enum class Made : uint8_t { kNow, kBefore };

Result<Made> MakeV1(const std::string& controller, const std::string& directory) {
  Made made = Made::kNow;
  if (::mkdir(directory.c_str(), 0755) < 0) {
    if (errno == ENOENT) {
      TRY(MakeV1(controller, directory.substr(0, directory.rfind('/'))));
      if (::mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST) {
        return ErrnoError("making cgroup '{}'", directory);
      }
    } else if (errno == EEXIST) {
      made = Made::kBefore;
    } else {
      return ErrnoError("making cgroup '{}'", directory);
    }
  }
  if (controller == "cpuset") TRY(InheritCpuset(directory));
  return made;
}

std::vector<std::string> Controllers(const std::string& directory, const char* file) {
  std::vector<std::string> names;
  Result<std::string> text = ReadFile(fmt::format("{}/{}", directory, file));
  if (!text.ok()) return names;
  size_t at = 0;
  while (at < text->size()) {
    size_t end = std::min(text->find_first_of(" \n", at), text->size());
    if (end > at) names.push_back(text->substr(at, end - at));
    at = end + 1;
  }
  return names;
}

// The kernel's own root may; any other that hands down controllers of threads while it has
// processes makes its children unusable (cgroups(7), "threaded mode").
bool HasProcesses(const std::string& directory) {
  if (!PathExists(directory + "/cgroup.type")) return false;
  Result<std::string> processes = ReadFile(directory + "/cgroup.procs");
  return processes.ok() && !processes->empty();
}

// Controllers work in a cgroup only if every one above hands them down. What is missing in the end
// is an error of the resource that needs it.
void EnableControllers(const std::string& parent) {
  std::vector<std::string> enabled = Controllers(parent, "cgroup.subtree_control");
  std::vector<std::string> missing;
  for (std::string& name : Controllers(parent, "cgroup.controllers")) {
    if (std::find(enabled.begin(), enabled.end(), name) == enabled.end()) {
      missing.push_back("+" + std::move(name));
    }
  }
  if (missing.empty() || HasProcesses(parent)) return;
  std::string request;
  for (const std::string& word : missing) request += word + " ";
  if (WriteFile(parent + "/cgroup.subtree_control", request).ok()) return;
  // Some may be refused (cpu with realtime tasks): the others one by one.
  for (const std::string& word : missing) {
    (void)WriteFile(parent + "/cgroup.subtree_control", word);
  }
}

Result<Made> MakeV2(const std::string& directory) {
  Made made = Made::kNow;
  size_t slash = sizeof kernel::kCgroupRoot - 1;
  while (slash != std::string::npos && slash < directory.size()) {
    EnableControllers(directory.substr(0, slash));
    slash = directory.find('/', slash + 1);
    std::string level = directory.substr(0, slash);
    made = Made::kNow;
    if (::mkdir(level.c_str(), 0755) < 0) {
      if (errno != EEXIST) return ErrnoError("making cgroup '{}'", level);
      made = Made::kBefore;
    }
  }
  return made;
}

// The files that may be handed down, as this kernel lists them (Documentation/…/cgroup-v2.rst,
// "Delegation"); the fixed three are those of kernels without the list.
std::string DelegatedFiles() {
  Result<std::string> list = ReadFile("/sys/kernel/cgroup/delegate");
  return list.ok() ? *std::move(list) : "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
}

bool MayMakeIn(const std::string& directory) {
  return ::geteuid() == 0 || ::faccessat(AT_FDCWD, directory.c_str(), W_OK, AT_EACCESS) == 0;
}

oci::DeviceRule Allow(std::string type, std::optional<int64_t> major, std::optional<int64_t> minor,
                      std::string access) {
  return {true, std::move(type), major, minor, std::move(access)};
}

}  // namespace

Result<> WriteCgroup(const std::string& directory, std::string_view file, std::string_view value) {
  std::string path = fmt::format("{}/{}", directory, file);
  TRY_WITH(WriteFile(path, value), "setting cgroup file '{}' to '{}'", path, value);
  return {};
}

Result<kernel::CgroupPaths> ChooseCgroups(const std::string& cgroups_path, const std::string& id) {
  kernel::CgroupPaths paths;
  paths.unified = kernel::CgroupIsUnified();
  for (const kernel::CgroupHierarchy& hierarchy : TRY(kernel::CgroupHierarchies(0))) {
    std::string below;
    if (cgroups_path.starts_with('/')) {
      below = Joined("", cgroups_path);
    } else {
      std::string own = hierarchy.own_path;
      // On v2 processes live in leaves only, so the caller's own cgroup can't have children with
      // controllers; its parent can, if it is ours.
      if (paths.unified) {
        std::string above = own.substr(0, own.rfind('/'));
        if (MayMakeIn(hierarchy.mount_point + above)) own = above;
      }
      below = Joined(own, cgroups_path.empty() ? id : cgroups_path);
    }
    if (below.empty()) return InvalidArgument("linux.cgroupsPath: '{}' is the root", cgroups_path);
    std::string directory = hierarchy.mount_point + below;
    if (paths.unified) paths.directories[""] = directory;
    for (const std::string& controller : hierarchy.controllers) {
      paths.directories[controller] = directory;
    }
  }
  return paths;
}

Result<kernel::CgroupPaths> SubCgroups(kernel::CgroupPaths paths,
                                       const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    size_t colon = word.find(':');
    std::string below = word.substr(colon == std::string::npos ? 0 : colon + 1);
    if (("/" + below + "/").find("/../") != std::string::npos) {
      return InvalidArgument("--cgroup: '{}' leaves the container's cgroup", word);
    }
    if (colon == std::string::npos) {
      for (auto& [controller, directory] : paths.directories) directory = Joined(directory, below);
      continue;
    }
    if (paths.unified) {
      return InvalidArgument("--cgroup: '{}': cgroup version 2 has no controllers here", word);
    }
    std::string controllers = word.substr(0, colon) + ",";
    for (size_t at = 0; at < controllers.size();) {
      size_t comma = controllers.find(',', at);
      std::string controller = controllers.substr(at, comma - at);
      auto found = paths.directories.find(controller);
      if (found == paths.directories.end()) found = paths.directories.find("name=" + controller);
      if (found == paths.directories.end()) {
        return InvalidArgument("--cgroup: the container has no cgroup of '{}'", controller);
      }
      found->second = Joined(found->second, below);
      at = comma + 1;
    }
  }
  return paths;
}

Result<> MakeCgroups(const kernel::CgroupPaths& paths) {
  std::set<std::string_view> done;
  bool check_frozen = false;
  for (const auto& [controller, directory] : paths.directories) {
    if (!paths.unified && controller != "cpuset" && done.contains(directory)) continue;
    Made made = TRY(paths.unified ? MakeV2(directory) : MakeV1(controller, directory));
    done.insert(directory);
    check_frozen |= made == Made::kBefore && (paths.unified || controller == "freezer");
  }
  if (check_frozen && TRY(kernel::CgroupIsFrozen(paths))) {
    return FailedPrecondition("the container's cgroup '{}' is there and frozen", paths.Main());
  }
  return {};
}

Result<> DelegateCgroup(const std::string& directory, uid_t owner) {
  UniqueFd cgroup = TRY(OpenFile(directory, O_RDONLY | O_DIRECTORY));
  if (::fchown(cgroup.get(), owner, static_cast<gid_t>(-1)) < 0) {
    return ErrnoError("giving cgroup '{}' to user {}", directory, owner);
  }
  std::string files = DelegatedFiles();
  for (size_t at = 0; at < files.size();) {
    size_t end = std::min(files.find('\n', at), files.size());
    std::string file = files.substr(at, end - at);
    at = end + 1;
    // A file that this cgroup has not (a controller that is not there) is no matter.
    if (!file.empty() &&
        ::fchownat(cgroup.get(), file.c_str(), owner, static_cast<gid_t>(-1), 0) < 0 &&
        errno != ENOENT) {
      return ErrnoError("giving cgroup file '{}/{}' to user {}", directory, file, owner);
    }
  }
  return {};
}

Result<std::vector<UniqueFd>> OpenTasks(const kernel::CgroupPaths& paths) {
  std::vector<UniqueFd> files;
  std::set<std::string_view> done;
  for (const auto& [controller, directory] : paths.directories) {
    if (!done.insert(directory).second) continue;
    files.push_back(TRY(OpenFile(directory + "/tasks", O_WRONLY)));
  }
  return files;
}

std::vector<oci::DeviceRule> EffectiveDeviceRules(const std::vector<oci::DeviceRule>& rules) {
  std::vector<oci::DeviceRule> all = rules;
  if (rules.empty()) return all;
  all.push_back(Allow("c", {}, {}, "m"));
  all.push_back(Allow("b", {}, {}, "m"));
  for (int minor : {3, 5, 7, 8, 9}) all.push_back(Allow("c", 1, minor, "rwm"));
  for (int minor : {0, 1, 2}) all.push_back(Allow("c", 5, minor, "rwm"));
  all.push_back(Allow("c", 136, {}, "rwm"));
  return all;
}

Result<> ApplyResources(const kernel::CgroupPaths& paths, const oci::Resources& resources,
                        Devices devices) {
  return paths.unified ? ApplyResourcesV2(paths, resources, devices)
                       : ApplyResourcesV1(paths, resources, devices);
}

}  // namespace gantry::runtime
