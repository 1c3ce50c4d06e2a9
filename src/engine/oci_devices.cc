// SPDX-License-Identifier: Apache-2.0
#include "engine/oci_devices.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>

namespace gantry::engine {
namespace {

namespace fs = std::filesystem;

// docker's default: everything denied but null, zero, full, random, urandom, tty, console; the
// runtime adds what every container has (ptmx, pts). fuse is denied by name.
std::vector<oci::DeviceRule> DefaultRules() {
  std::vector<oci::DeviceRule> rules = {{false, "", std::nullopt, std::nullopt, "rwm"}};
  for (auto [major, minor] : {std::pair{1, 5}, {1, 3}, {1, 9}, {1, 8}, {5, 0}, {5, 1}}) {
    rules.push_back({true, "c", major, minor, "rwm"});
  }
  rules.push_back({false, "c", 10, 229, "rwm"});
  return rules;
}

std::optional<oci::Device> DeviceAt(const std::string& path, const std::string& inside) {
  struct stat info{};
  if (::stat(path.c_str(), &info) < 0 || (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode))) {
    return std::nullopt;
  }
  oci::Device device;
  device.path = inside;
  device.type = S_ISCHR(info.st_mode) ? "c" : "b";
  device.major = ::major(info.st_rdev);
  device.minor = ::minor(info.st_rdev);
  device.file_mode = info.st_mode & 07777;
  device.uid = info.st_uid;
  device.gid = info.st_gid;
  return device;
}

void AddDevice(oci::Device device, const std::string& access, DeviceSet* set) {
  set->rules.push_back({true, device.type, device.major, device.minor, access});
  set->devices.push_back(std::move(device));
}

Result<> AddMapping(const DeviceMapping& mapping, const std::string& access, DeviceSet* set) {
  std::error_code error;
  fs::path resolved = fs::canonical(mapping.path_on_host, error);
  if (error) {
    return InvalidArgument(
        "error gathering device information while adding custom device \"{}\": {}",
        mapping.path_on_host, "no such file or directory");
  }
  if (std::optional<oci::Device> device = DeviceAt(resolved, mapping.path_in_container)) {
    AddDevice(*std::move(device), access, set);
    return {};
  }
  // A directory stands for every device below it.
  bool any = false;
  for (fs::recursive_directory_iterator entry(resolved, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string inside =
        mapping.path_in_container + entry->path().string().substr(resolved.string().size());
    if (std::optional<oci::Device> device = DeviceAt(entry->path(), inside)) {
      AddDevice(*std::move(device), access, set);
      any = true;
    }
  }
  if (!any) {
    return InvalidArgument(
        "error gathering device information while adding custom device \"{}\": not a device node",
        mapping.path_on_host);
  }
  return {};
}

// Every device of the host, less what a container has of its own.
void AddHostDevices(DeviceSet* set) {
  static constexpr std::array<std::string_view, 9> kSkipped = {
      "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx"};
  std::error_code error;
  for (fs::recursive_directory_iterator entry("/dev", error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename();
    if (std::find(kSkipped.begin(), kSkipped.end(), name) != kSkipped.end()) {
      entry.disable_recursion_pending();
      continue;
    }
    if (entry->is_symlink(error)) continue;
    if (std::optional<oci::Device> device = DeviceAt(entry->path(), entry->path())) {
      set->devices.push_back(*std::move(device));
    }
  }
}

// "[abc] MAJOR:MINOR rwm", a number may be "*".
Result<oci::DeviceRule> ParseRule(const std::string& text) {
  auto bad = [&] { return InvalidArgument("invalid device cgroup rule format: '{}'", text); };
  size_t first = text.find(' ');
  size_t second = text.find(' ', first == std::string::npos ? first : first + 1);
  if (first != 1 || second == std::string::npos) return bad();
  std::string numbers = text.substr(2, second - 2);
  std::string access = text.substr(second + 1);
  size_t colon = numbers.find(':');
  if (std::string_view("abc").find(text[0]) == std::string_view::npos ||
      colon == std::string::npos || access.empty() || access.size() > 3 ||
      access.find_first_not_of("rwm") != std::string::npos) {
    return bad();
  }
  auto number = [&](std::string_view part) -> Result<std::optional<int64_t>> {
    if (part == "*") return std::optional<int64_t>();
    int64_t value = 0;
    auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || value < 0) return bad();
    return std::optional<int64_t>(value);
  };
  std::string_view view(numbers);
  return oci::DeviceRule{true, text.substr(0, 1), TRY(number(view.substr(0, colon))),
                         TRY(number(view.substr(colon + 1))), access};
}

}  // namespace

Result<DeviceSet> MakeDevices(const HostConfig& host) {
  DeviceSet set;
  if (host.privileged) {
    AddHostDevices(&set);
    for (const DeviceMapping& mapping : host.devices) {
      if (mapping.path_on_host != mapping.path_in_container) {
        TRY(AddMapping(mapping, "rwm", &set));
      }
    }
    set.rules = {{true, "", std::nullopt, std::nullopt, "rwm"}};
    return set;
  }
  set.rules = DefaultRules();
  for (const DeviceMapping& mapping : host.devices) {
    std::string access = mapping.cgroup_permissions.empty() ? "rwm" : mapping.cgroup_permissions;
    if (access.find_first_not_of("rwm") != std::string::npos) {
      return InvalidArgument("invalid device mode: {}", access);
    }
    TRY(AddMapping(mapping, access, &set));
  }
  for (const std::string& rule : host.device_cgroup_rules)
    set.rules.push_back(TRY(ParseRule(rule)));
  return set;
}

Result<DeviceNumber> BlockDeviceNumber(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) < 0) {
    Error error = ErrnoError("finding the block device '{}'", path);
    return std::move(error.SetKind(ErrorKind::kInvalidArgument));
  }
  if (!S_ISBLK(info.st_mode)) return InvalidArgument("'{}' is not a block device", path);
  return DeviceNumber{::major(info.st_rdev), ::minor(info.st_rdev)};
}

}  // namespace gantry::engine
