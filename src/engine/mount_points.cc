// SPDX-License-Identifier: Apache-2.0
#include "engine/mount_points.h"

#include <limits.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <string_view>

#include "base/io.h"
#include "base/text.h"

namespace gantry::engine {
namespace {

constexpr mode_t kMadeDirectoryMode = 0755;
constexpr std::array<std::string_view, 6> kPropagations = {"private", "rprivate", "shared",
                                                           "rshared", "slave",    "rslave"};

std::string Clean(const std::string& path) {
  std::string clean = std::filesystem::path(path).lexically_normal();
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

Result<> CheckDestination(const std::string& destination, std::string_view spec) {
  if (destination.empty() || destination[0] != '/') {
    return InvalidArgument(
        "invalid volume specification: '{}': invalid mount config for type "
        "\"bind\": invalid mount path: '{}' mount path must be absolute",
        spec, destination);
  }
  if (Clean(destination) == "/") {
    return InvalidArgument(
        "invalid volume specification: '{}': invalid specification: destination can't be '/'",
        spec);
  }
  return {};
}

bool IsPropagation(std::string_view word) {
  return std::find(kPropagations.begin(), kPropagations.end(), word) != kPropagations.end();
}

// One of "rw", "ro", a propagation, "z" or "Z" (labels, which mean nothing without SELinux),
// "nocopy", "consistent", "cached", "delegated".
Result<> ApplyMode(const std::string& mode, MountPoint* point) {
  bool direction = false;
  bool propagation = false;
  for (const std::string& word : Split(mode, ',')) {
    if (word == "ro" || word == "rw") {
      if (direction) return InvalidArgument("invalid mode: {}", mode);
      direction = true;
      point->writable = word == "rw";
    } else if (IsPropagation(word)) {
      if (propagation) return InvalidArgument("invalid mode: {}", mode);
      propagation = true;
      point->propagation = word;
    } else if (word != "z" && word != "Z" && word != "nocopy" && word != "consistent" &&
               word != "cached" && word != "delegated") {
      return InvalidArgument("invalid mode: {}", mode);
    }
  }
  return {};
}

Result<MountPoint> ParseBind(const std::string& spec) {
  std::vector<std::string> parts = Split(spec, ':');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty()) {
    return InvalidArgument("invalid volume specification: '{}'", spec);
  }
  if (parts[0][0] != '/') {
    return Unimplemented("mounting volume '{}': named volumes are not supported yet", parts[0]);
  }
  MountPoint point;
  point.type = "bind";
  point.source = Clean(parts[0]);
  TRY(CheckDestination(parts[1], spec));
  point.destination = Clean(parts[1]);
  point.propagation = "rprivate";
  point.make_source = true;
  if (parts.size() == 3) {
    point.mode = parts[2];
    TRY_WITH(ApplyMode(parts[2], &point), "invalid volume specification: '{}'", spec);
  }
  return point;
}

Result<MountPoint> ParseMount(const MountConfig& config) {
  if (config.type == "volume") {
    return Unimplemented("mounting volume '{}': named volumes are not supported yet",
                         config.source);
  }
  if (config.type != "bind") {
    return InvalidArgument("invalid mount config for type \"{}\": mount type unknown", config.type);
  }
  if (config.source.empty() || config.source[0] != '/') {
    return InvalidArgument(
        "invalid mount config for type \"bind\": invalid mount path: '{}' mount "
        "path must be absolute",
        config.source);
  }
  MountPoint point;
  point.type = "bind";
  point.source = Clean(config.source);
  TRY(CheckDestination(config.target, config.target));
  point.destination = Clean(config.target);
  point.propagation = "rprivate";
  point.writable = !config.read_only;
  if (config.bind_options) {
    if (!config.bind_options->propagation.empty()) {
      if (!IsPropagation(config.bind_options->propagation)) {
        return InvalidArgument(
            "invalid mount config for type \"bind\": invalid propagation mode: "
            "{}",
            config.bind_options->propagation);
      }
      point.propagation = config.bind_options->propagation;
    }
    point.recursive = !config.bind_options->non_recursive;
    point.make_source = config.bind_options->create_mountpoint;
  }
  return point;
}

// The fields of a mount in /proc/PID/mountinfo (proc(5)) that count here.
struct MountAbove {
  std::string place;
  bool shared = false;
  bool slave = false;
};

// "\040" is a blank.
std::string WithoutEscapes(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out.push_back(static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
                                      (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

MountAbove FindMountAbove(std::string_view mountinfo, std::string_view path) {
  MountAbove found;
  while (!mountinfo.empty()) {
    std::string_view line = mountinfo.substr(0, mountinfo.find('\n'));
    mountinfo.remove_prefix(std::min(line.size() + 1, mountinfo.size()));
    // id, parent, device, root, place, options, then "shared:N" or "master:N" until "-".
    MountAbove mount;
    for (int field = 0; !line.empty(); ++field) {
      std::string_view word = line.substr(0, line.find(' '));
      line.remove_prefix(std::min(word.size() + 1, line.size()));
      if (field == 4) mount.place = WithoutEscapes(word);
      if (field > 5 && word == "-") break;
      if (field > 5 && word.starts_with("shared:")) mount.shared = true;
      if (field > 5 && word.starts_with("master:")) mount.slave = true;
    }
    bool above = mount.place == "/" || path == mount.place || path.starts_with(mount.place + "/");
    // A later mount at the same place hides the one before.
    if (above && mount.place.size() >= found.place.size()) found = std::move(mount);
  }
  return found;
}

Result<> CheckPropagation(const MountPoint& point) {
  bool shared = point.propagation.ends_with("shared");
  bool slave = point.propagation.ends_with("slave");
  if (!shared && !slave) return {};
  char resolved[PATH_MAX];
  if (::realpath(point.source.c_str(), resolved) == nullptr) {
    return ErrnoError("looking at '{}'", point.source);
  }
  MountAbove above = FindMountAbove(TRY(ReadFile("/proc/self/mountinfo")), resolved);
  if (above.shared || (slave && above.slave)) return {};
  return Internal("path {} is mounted on {} but it is not a shared{} mount", point.source,
                  above.place, slave ? " or slave" : "");
}

}  // namespace

Result<std::vector<MountPoint>> ParseMountPoints(const HostConfig& host) {
  std::vector<MountPoint> points;
  std::set<std::string> seen;
  auto add = [&](MountPoint point) -> Result<> {
    if (!seen.insert(point.destination).second) {
      return InvalidArgument("Duplicate mount point: {}", point.destination);
    }
    points.push_back(std::move(point));
    return {};
  };
  for (const std::string& bind : host.binds) TRY(add(TRY(ParseBind(bind))));
  for (const MountConfig& mount : host.mounts) {
    if (mount.type != "tmpfs") TRY(add(TRY(ParseMount(mount))));
  }
  return points;
}

void RaisePropagation(const MountPoint& point, std::string* rootfs_propagation) {
  if (point.propagation.ends_with("shared")) {
    *rootfs_propagation = "shared";
  } else if (point.propagation.ends_with("slave") && rootfs_propagation->empty()) {
    *rootfs_propagation = "rslave";
  }
}

Result<> PrepareSources(const std::vector<MountPoint>& points) {
  for (const MountPoint& point : points) {
    if (PathExists(point.source)) {
      TRY(CheckPropagation(point));
      continue;
    }
    if (!point.make_source) {
      return InvalidArgument(
          "invalid mount config for type \"bind\": bind source path does not exist: {}",
          point.source);
    }
    TRY_WITH(MakeDirectories(point.source, kMadeDirectoryMode), "making the source of mount '{}'",
             point.destination);
    TRY(CheckPropagation(point));
  }
  return {};
}

oci::Mount ToMount(const MountPoint& point) {
  std::vector<std::string> options = {point.recursive ? "rbind" : "bind"};
  if (!point.writable) options.emplace_back("ro");
  if (!point.propagation.empty()) options.push_back(point.propagation);
  return {point.destination, "bind", point.source, std::move(options), {}, {}};
}

}  // namespace gantry::engine
