// SPDX-License-Identifier: Apache-2.0
#include "engine/mount_points.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/text.h"

namespace gantry::engine {

using formats::Json;
using formats::JsonReader;

namespace {

constexpr std::array<std::string_view, 6> kPropagations = {"private", "rprivate", "shared",
                                                           "rshared", "slave",    "rslave"};

bool IsPropagation(std::string_view word) {
  return std::find(kPropagations.begin(), kPropagations.end(), word) != kPropagations.end();
}

// What may stand behind the last colon, each kind at most once. "z" and "Z" are labels, which mean
// nothing without SELinux; the consistencies mean something on a Mac.
struct Mode {
  bool writable = true;
  bool no_copy = false;
  std::string propagation;
};

bool ParseBindMode(const std::string& text, Mode* mode) {
  if (text.empty()) return true;
  int direction = 0, label = 0, propagation = 0, copy = 0, consistency = 0;
  for (const std::string& word : Split(text, ',')) {
    if (word == "ro" || word == "rw") {
      ++direction;
      mode->writable = word == "rw";
    } else if (word == "z" || word == "Z") {
      ++label;
    } else if (IsPropagation(word)) {
      ++propagation;
      mode->propagation = word;
    } else if (word == "nocopy") {
      ++copy;
      mode->no_copy = true;
    } else if (word == "consistent" || word == "cached" || word == "delegated") {
      ++consistency;
    } else {
      return false;
    }
  }
  return direction <= 1 && label <= 1 && propagation <= 1 && copy <= 1 && consistency <= 1;
}

// filepath.IsLocal: relative, and not out of where it begins.
bool IsLocal(const std::string& path) {
  if (path.empty() || path[0] == '/') return false;
  std::string clean = CleanPath(path);
  return clean != ".." && !clean.starts_with("../");
}

Result<> CheckTarget(const std::string& target) {
  if (target.empty()) return InvalidArgument("field Target must not be empty");
  if (CleanPath(target) == "/") {
    return InvalidArgument("invalid specification: destination can't be '/'");
  }
  if (target[0] != '/') {
    return InvalidArgument("invalid mount path: '{}' mount path must be absolute", target);
  }
  return {};
}

Result<> CheckForeignOptions(const MountConfig& config) {
  struct Owner {
    const char* type;
    const char* field;
    bool given;
  };
  for (const Owner& owner : std::to_array<Owner>({
           {"bind", "BindOptions", config.bind_options.has_value()},
           {"volume", "VolumeOptions", config.volume_options.has_value()},
           {"image", "ImageOptions", config.image_options.has_value()},
           {"tmpfs", "TmpfsOptions", config.tmpfs_options.has_value()},
       })) {
    if (owner.given && config.type != owner.type) {
      return InvalidArgument("field {} must not be specified", owner.field);
    }
  }
  return {};
}

Result<> CheckBind(const MountConfig& config) {
  if (config.source.empty()) return InvalidArgument("field Source must not be empty");
  if (config.bind_options && !config.bind_options->propagation.empty() &&
      !IsPropagation(config.bind_options->propagation)) {
    return InvalidArgument("invalid propagation mode: {}", config.bind_options->propagation);
  }
  if (config.source[0] != '/') {
    return InvalidArgument("invalid mount path: '{}' mount path must be absolute", config.source);
  }
  return {};
}

Result<> CheckRecursion(const MountConfig& config) {
  if (!config.bind_options) return {};
  const MountBindOptions& options = *config.bind_options;
  if (!config.read_only && options.read_only_non_recursive) {
    return InvalidArgument("mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive");
  }
  if (!config.read_only && options.read_only_force_recursive) {
    return InvalidArgument(
        "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive");
  }
  if (options.read_only_non_recursive && options.read_only_force_recursive) {
    return InvalidArgument(
        "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive");
  }
  return {};
}

Result<> CheckTmpfs(const MountConfig& config) {
  if (!config.source.empty()) return InvalidArgument("field Source must not be specified");
  if (!config.tmpfs_options) return {};
  if (config.tmpfs_options->size_bytes < 0) {
    return InvalidArgument("invalid tmpfs size: {}", config.tmpfs_options->size_bytes);
  }
  for (const std::vector<std::string>& option : config.tmpfs_options->options) {
    if (option.empty() || option.size() > 2) return InvalidArgument("invalid option array length");
    if (option[0] != "exec" && option[0] != "noexec") {
      return InvalidArgument("invalid option: {}", option[0]);
    }
  }
  return {};
}

Result<> CheckMount(const MountConfig& config) {
  TRY(CheckForeignOptions(config));
  TRY(CheckTarget(config.target));
  const std::string bad_subpath = "subpath must be a relative path within the volume";
  if (config.type == "bind") {
    TRY(CheckBind(config));
    return CheckRecursion(config);
  }
  if (config.type == "tmpfs") return CheckTmpfs(config);
  if (config.type == "volume") {
    bool part = config.volume_options && !config.volume_options->subpath.empty();
    if (part && config.source.empty()) {
      return InvalidArgument("must not set Subpath when using anonymous volumes");
    }
    if (part && !IsLocal(config.volume_options->subpath)) return InvalidArgument("{}", bad_subpath);
    return {};
  }
  if (config.type == "image") {
    if (config.source.empty()) return InvalidArgument("field Source must not be empty");
    bool part = config.image_options && !config.image_options->subpath.empty();
    if (part && !IsLocal(config.image_options->subpath)) return InvalidArgument("{}", bad_subpath);
    return {};
  }
  return InvalidArgument("mount type unknown");
}

void FillVolume(const MountConfig& config, MountPoint* point) {
  point->name = config.source;
  point->anonymous = config.source.empty();
  point->copy_data = true;
  if (!config.volume_options) return;
  const MountVolumeOptions& options = *config.volume_options;
  point->copy_data = !options.no_copy;
  point->subpath = options.subpath;
  point->volume_labels = options.labels;
  if (options.driver_config) {
    point->driver = options.driver_config->name;
    point->volume_options = options.driver_config->options;
  }
}

void FillBind(const MountConfig& config, MountPoint* point) {
  point->source = CleanPath(config.source);
  if (!config.bind_options) return;
  const MountBindOptions& options = *config.bind_options;
  point->propagation = options.propagation;
  point->recursive = !options.non_recursive;
  point->make_source = options.create_mountpoint;
  point->read_only_non_recursive = options.read_only_non_recursive;
  point->read_only_force_recursive = options.read_only_force_recursive;
}

bool Holds(std::string_view directory, std::string_view path) {
  if (directory == "/" || directory == path) return true;
  return path.starts_with(directory) && path[directory.size()] == '/';
}

// A private bind of the engine's own data would keep what the engine mounts there from going away.
Result<> SettlePropagation(const std::string& data_root, MountPoint* point) {
  if (point->type != "bind") return {};
  bool own =
      !data_root.empty() && (Holds(data_root, point->source) || Holds(point->source, data_root));
  if (own && !point->propagation.empty() && point->propagation != "rslave" &&
      point->propagation != "rshared") {
    return InvalidArgument(
        "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when "
        "mount source is within the daemon root, daemon root: \"{}\", bind mount source: \"{}\", "
        "propagation: \"{}\"",
        data_root, point->source, point->propagation);
  }
  if (!point->propagation.empty()) return {};
  point->propagation = own ? "rslave" : "rprivate";
  point->slave_if_possible = own;
  return {};
}

}  // namespace

Result<MountPoint> ParseMount(const MountConfig& config) {
  TRY_WITH(CheckMount(config), "invalid mount config for type \"{}\"", config.type);
  MountPoint point;
  point.type = config.type;
  point.destination = CleanPath(config.target);
  point.writable = !config.read_only;
  if (config.type == "volume") FillVolume(config, &point);
  if (config.type == "bind") FillBind(config, &point);
  if (config.type == "image") {
    point.name = config.source;
    point.writable = false;
    point.propagation = "rprivate";
    if (config.image_options) point.subpath = config.image_options->subpath;
  }
  return point;
}

Result<MountPoint> ParseBind(const std::string& spec, const std::string& volume_driver) {
  auto invalid = [&] { return InvalidArgument("invalid volume specification: '{}'", spec); };
  std::vector<std::string> parts = Split(spec, ':');
  Mode mode;
  if (parts[0].empty() || parts.size() > 3) return invalid();
  if (parts.size() == 2 && !parts[1].empty() && ParseBindMode(parts[1], &mode)) return invalid();
  MountConfig config;
  config.source = parts.size() == 1 ? "" : parts[0];
  config.target = parts.size() == 1 ? parts[0] : parts[1];
  std::string mode_text = parts.size() == 3 ? parts[2] : "";
  mode = Mode();
  if (!ParseBindMode(mode_text, &mode)) return InvalidArgument("invalid mode: {}", mode_text);
  config.type = config.source.starts_with('/') ? "bind" : "volume";
  bool binds = config.type == "bind";
  if (binds ? mode.no_copy : !mode.propagation.empty()) {
    return InvalidArgument(
        "invalid volume specification: '{}': invalid mount config for type \"{}\": field {} must "
        "not be specified",
        spec, config.type, binds ? "VolumeOptions" : "BindOptions");
  }
  config.read_only = !mode.writable;
  MountPoint point = TRY_WITH(ParseMount(config), "invalid volume specification: '{}'", spec);
  point.mode = mode_text;
  if (point.type == "bind") {
    point.make_source = true;
    if (!mode.propagation.empty()) point.propagation = mode.propagation;
  } else {
    point.driver = volume_driver;
    point.copy_data = !mode.no_copy;
  }
  return point;
}

Result<MountPoint> NamelessVolume(const std::string& path, const std::string& volume_driver) {
  MountConfig config;
  config.type = "volume";
  config.target = path.starts_with('/') ? path : "/" + path;
  MountPoint point = TRY_WITH(ParseMount(config), "invalid volume specification: '{}'", path);
  point.driver = volume_driver;
  return point;
}

Result<std::vector<MountPoint>> ParseMountPoints(const HostConfig& host,
                                                 const std::string& data_root) {
  std::vector<MountPoint> points;
  std::set<std::string> seen;
  auto duplicate = [](const std::string& destination) {
    return InvalidArgument("Duplicate mount point: {}", destination);
  };
  for (const std::string& bind : host.binds) {
    MountPoint point = TRY(ParseBind(bind, host.volume_driver));
    if (host.tmpfs.contains(point.destination)) return duplicate(point.destination);
    if (!seen.insert(point.destination).second) return duplicate(point.destination);
    TRY(SettlePropagation(data_root, &point));
    points.push_back(std::move(point));
  }
  for (const MountConfig& mount : host.mounts) {
    MountPoint point = TRY(ParseMount(mount));
    if (!seen.insert(point.destination).second) return duplicate(mount.target);
    TRY(SettlePropagation(data_root, &point));
    points.push_back(std::move(point));
  }
  return points;
}

Result<VolumesFrom> ParseVolumesFrom(const std::string& spec) {
  if (spec.empty()) {
    return InvalidArgument("volumes-from specification cannot be an empty string");
  }
  size_t colon = spec.find(':');
  VolumesFrom from{spec.substr(0, colon)};
  std::string text = colon == std::string::npos ? "" : spec.substr(colon + 1);
  Mode mode;
  if (!ParseBindMode(text, &mode) || mode.no_copy || !mode.propagation.empty()) {
    return InvalidArgument("invalid mode: {}", text);
  }
  from.writable = mode.writable;
  return from;
}

oci::Mount ToMount(const MountPoint& point, const std::string& source) {
  std::vector<std::string> options = {point.recursive ? "rbind" : "bind"};
  if (!point.writable) options.emplace_back(point.read_only_non_recursive ? "ro" : "rro");
  if (!point.propagation.empty()) options.push_back(point.propagation);
  return {point.destination, "bind", source, std::move(options), {}, {}};
}

std::string RootPropagation(const std::vector<oci::Mount>& mounts) {
  std::string propagation;
  for (const oci::Mount& mount : mounts) {
    for (const std::string& option : mount.options) {
      if (option == "shared" || option == "rshared") return "shared";
      if (option == "slave" || option == "rslave") propagation = "rslave";
    }
  }
  return propagation;
}

Json ToJson(const MountPoint& point) {
  return Json::MakeObject({{"type", point.type},
                           {"name", point.name},
                           {"driver", point.driver},
                           {"source", point.source},
                           {"destination", point.destination},
                           {"mode", point.mode},
                           {"propagation", point.propagation},
                           {"slaveIfPossible", point.slave_if_possible},
                           {"subpath", point.subpath},
                           {"snapshot", point.snapshot},
                           {"imageId", point.image_id},
                           {"writable", point.writable},
                           {"recursive", point.recursive},
                           {"makeSource", point.make_source},
                           {"copyData", point.copy_data},
                           {"anonymous", point.anonymous},
                           {"readOnlyNonRecursive", point.read_only_non_recursive},
                           {"readOnlyForceRecursive", point.read_only_force_recursive}});
}

Result<MountPoint> ParseMountPoint(const Json& json) {
  MountPoint point;
  JsonReader reader(json, "mount");
  reader.Field("type", &point.type);
  reader.Field("name", &point.name);
  reader.Field("driver", &point.driver);
  reader.Field("source", &point.source);
  reader.Field("destination", &point.destination);
  reader.Field("mode", &point.mode);
  reader.Field("propagation", &point.propagation);
  reader.Field("slaveIfPossible", &point.slave_if_possible);
  reader.Field("subpath", &point.subpath);
  reader.Field("snapshot", &point.snapshot);
  reader.Field("imageId", &point.image_id);
  reader.Field("writable", &point.writable);
  reader.Field("recursive", &point.recursive);
  reader.Field("makeSource", &point.make_source);
  reader.Field("copyData", &point.copy_data);
  reader.Field("anonymous", &point.anonymous);
  reader.Field("readOnlyNonRecursive", &point.read_only_non_recursive);
  reader.Field("readOnlyForceRecursive", &point.read_only_force_recursive);
  TRY(reader.Finish());
  return point;
}

}  // namespace gantry::engine
