// SPDX-License-Identifier: Apache-2.0
#include "engine/mount_sources.h"

#include <limits.h>
#include <stdlib.h>

#include <algorithm>
#include <string_view>

#include "base/io.h"

namespace gantry::engine {
namespace {

constexpr mode_t kMadeDirectoryMode = 0755;

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

Result<> CheckPropagation(MountPoint* settled) {
  const MountPoint& point = *settled;
  bool shared = point.propagation.ends_with("shared");
  bool slave = point.propagation.ends_with("slave");
  if (!shared && !slave) return {};
  char resolved[PATH_MAX];
  if (::realpath(point.source.c_str(), resolved) == nullptr) {
    return ErrnoError("looking at '{}'", point.source);
  }
  MountAbove above = FindMountAbove(TRY(ReadFile("/proc/self/mountinfo")), resolved);
  if (above.shared || (slave && above.slave)) return {};
  if (point.slave_if_possible) {
    settled->propagation = "rprivate";
    return {};
  }
  return Internal("path {} is mounted on {} but it is not a shared{} mount", point.source,
                  above.place, slave ? " or slave" : "");
}

}  // namespace

Result<> PrepareSources(std::vector<MountPoint>* points) {
  for (MountPoint& point : *points) {
    if (point.type != "bind") continue;
    if (PathExists(point.source)) {
      TRY(CheckPropagation(&point));
      continue;
    }
    if (!point.make_source) {
      return InvalidArgument(
          "invalid mount config for type \"bind\": bind source path does not exist: {}",
          point.source);
    }
    TRY_WITH(MakeDirectories(point.source, kMadeDirectoryMode), "making the source of mount '{}'",
             point.destination);
    TRY(CheckPropagation(&point));
  }
  return {};
}

}  // namespace gantry::engine
