// SPDX-License-Identifier: Apache-2.0
#include "engine/cdi.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include "base/io.h"
#include "formats/yaml.h"

namespace gantry::engine {
namespace {

using formats::Json;
using formats::JsonReader;

constexpr size_t kMaxSpecBytes = size_t{4} << 20;

bool IsNameCharacter(char c, std::string_view also) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || also.find(c) != std::string_view::npos;
}

// Begins with a letter, or with a letter or digit; ends with one of these; `also` in between.
bool IsName(std::string_view name, bool begins_with_letter, std::string_view also) {
  if (name.empty()) return false;
  unsigned char first = static_cast<unsigned char>(name.front());
  if (begins_with_letter ? std::isalpha(first) == 0 : std::isalnum(first) == 0) return false;
  if (std::isalnum(static_cast<unsigned char>(name.back())) == 0) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return IsNameCharacter(c, also); });
}

bool IsKind(std::string_view kind) {
  size_t slash = kind.find('/');
  return slash != std::string_view::npos && IsName(kind.substr(0, slash), true, "_-.") &&
         IsName(kind.substr(slash + 1), true, "_-.");
}

bool IsHookName(const std::string& name) {
  static const std::set<std::string> kNames = {"prestart",       "createRuntime", "createContainer",
                                               "startContainer", "poststart",     "poststop"};
  return kNames.contains(name);
}

void ReadDeviceNode(JsonReader& reader, CdiEdits* out) {
  CdiDeviceNode node;
  reader.Field("path", &node.path);
  reader.Field("hostPath", &node.host_path);
  reader.Field("type", &node.type);
  reader.Field("major", &node.major);
  reader.Field("minor", &node.minor);
  reader.Field("fileMode", &node.file_mode);
  reader.Field("uid", &node.uid);
  reader.Field("gid", &node.gid);
  reader.Field("permissions", &node.permissions);
  static const std::set<std::string> kTypes = {"", "b", "c", "u", "p"};
  if (node.path.empty()) reader.Fail("path", "a device node needs one");
  if (!kTypes.contains(node.type)) reader.Fail("type", "expected b, c, u or p");
  if (node.permissions.find_first_not_of("rwm") != std::string::npos) {
    reader.Fail("permissions", "expected letters of rwm");
  }
  out->device_nodes.push_back(std::move(node));
}

void ReadHook(JsonReader& reader, CdiEdits* out) {
  CdiHook hook;
  reader.Field("hookName", &hook.name);
  reader.Field("path", &hook.hook.path);
  reader.Field("args", &hook.hook.args);
  reader.Field("env", &hook.hook.env);
  reader.Field("timeout", &hook.hook.timeout);
  if (!IsHookName(hook.name)) reader.Fail("hookName", "no hook has that name");
  if (!hook.hook.path.starts_with('/')) reader.Fail("path", "expected an absolute path");
  out->hooks.push_back(std::move(hook));
}

void ReadMount(JsonReader& reader, CdiEdits* out) {
  oci::Mount mount;
  reader.Field("hostPath", &mount.source);
  reader.Field("containerPath", &mount.destination);
  reader.Field("options", &mount.options);
  reader.Field("type", &mount.type);
  if (mount.source.empty()) reader.Fail("hostPath", "a mount needs one");
  if (!mount.destination.starts_with('/')) {
    reader.Fail("containerPath", "expected an absolute path");
  }
  if (mount.type.empty()) mount.type = "bind";
  out->mounts.push_back(std::move(mount));
}

CdiEdits ReadEdits(JsonReader& parent) {
  CdiEdits out;
  parent.Object("containerEdits", [&](JsonReader& edits) {
    edits.Field("env", &out.env);
    for (const std::string& variable : out.env) {
      if (variable.find('=') == std::string::npos || variable[0] == '=') {
        edits.Fail("env", "expected NAME=VALUE");
      }
    }
    edits.Objects("deviceNodes", [&](JsonReader& node) { ReadDeviceNode(node, &out); });
    edits.Objects("netDevices", [&](JsonReader& device) {
      std::string host, inside;
      device.Field("hostInterfaceName", &host);
      device.Field("name", &inside);
      if (host.empty() || inside.empty()) device.Fail("name", "both names are needed");
      out.net_devices[host] = inside;
    });
    edits.Objects("hooks", [&](JsonReader& hook) { ReadHook(hook, &out); });
    edits.Objects("mounts", [&](JsonReader& mount) { ReadMount(mount, &out); });
    edits.Field("additionalGids", &out.additional_gids);
    if (edits.Raw("intelRdt") != nullptr) edits.Fail("intelRdt", "is not supported");
  });
  return out;
}

std::string_view NameOf(std::string_view variable) {
  return variable.substr(0, variable.find('='));
}

// The container's process owns its devices unless the spec says who does.
Result<oci::Device> MakeDevice(const CdiDeviceNode& node, const oci::Spec& spec) {
  oci::Device device;
  device.path = node.path;
  device.type = node.type;
  device.file_mode = node.file_mode;
  device.uid = node.uid;
  device.gid = node.gid;
  const std::string& source = node.host_path.empty() ? node.path : node.host_path;
  if (node.type != "p" && (node.type.empty() || !node.major)) {
    struct stat info{};
    if (::stat(source.c_str(), &info) < 0) {
      Error error = ErrnoError("failed to stat CDI host device \"{}\"", source);
      return std::move(error.SetKind(ErrorKind::kInvalidArgument));
    }
    std::string type = S_ISCHR(info.st_mode) ? "c" : S_ISBLK(info.st_mode) ? "b" : "";
    if (type.empty()) return InvalidArgument("CDI host device \"{}\" is no device node", source);
    if (!node.type.empty() && node.type != type) {
      return InvalidArgument("CDI device \"{}\", host type mismatch ({}, {})", source, node.type,
                             type);
    }
    device.type = type;
    device.major = ::major(info.st_rdev);
    device.minor = ::minor(info.st_rdev);
  } else {
    device.major = node.major.value_or(0);
    device.minor = node.minor.value_or(0);
  }
  const oci::User& user = spec.process->user;
  if (!device.uid && user.uid > 0) device.uid = user.uid;
  if (!device.gid && user.gid > 0) device.gid = user.gid;
  return device;
}

Result<> ApplyDevices(const CdiEdits& edits, oci::Spec* spec) {
  for (const CdiDeviceNode& node : edits.device_nodes) {
    oci::Device device = TRY(MakeDevice(node, *spec));
    if (device.type == "b" || device.type == "c") {
      std::string access = node.permissions.empty() ? "rwm" : node.permissions;
      spec->platform.resources->devices.push_back(
          {true, device.type, device.major, device.minor, access});
    }
    std::erase_if(spec->platform.devices,
                  [&](const oci::Device& other) { return other.path == device.path; });
    spec->platform.devices.push_back(std::move(device));
  }
  return {};
}

void ApplyMounts(const CdiEdits& edits, oci::Spec* spec) {
  if (edits.mounts.empty()) return;
  for (const oci::Mount& mount : edits.mounts) {
    std::erase_if(spec->mounts,
                  [&](const oci::Mount& other) { return other.destination == mount.destination; });
    spec->mounts.push_back(mount);
  }
  auto depth = [](const oci::Mount& mount) {
    return std::count(mount.destination.begin(), mount.destination.end(), '/');
  };
  std::stable_sort(spec->mounts.begin(), spec->mounts.end(),
                   [&](const oci::Mount& a, const oci::Mount& b) { return depth(a) < depth(b); });
}

void ApplyHooks(const CdiEdits& edits, oci::Hooks* hooks) {
  for (const auto& [name, hook] : edits.hooks) {
    auto& list = name == "prestart"          ? hooks->prestart
                 : name == "createRuntime"   ? hooks->create_runtime
                 : name == "createContainer" ? hooks->create_container
                 : name == "startContainer"  ? hooks->start_container
                 : name == "poststart"       ? hooks->poststart
                                             : hooks->poststop;
    list.push_back(hook);
  }
}

Result<> Apply(const CdiEdits& edits, oci::Spec* spec) {
  std::vector<std::string>& env = spec->process->env;
  for (const std::string& variable : edits.env) {
    std::erase_if(env, [&](const std::string& other) { return NameOf(other) == NameOf(variable); });
    env.push_back(variable);
  }
  TRY(ApplyDevices(edits, spec));
  for (const auto& [host, inside] : edits.net_devices) spec->platform.net_devices[host] = {inside};
  ApplyMounts(edits, spec);
  ApplyHooks(edits, &spec->hooks);
  auto& groups = spec->process->user.additional_gids;
  for (uint32_t gid : edits.additional_gids) {
    if (gid != 0 && std::find(groups.begin(), groups.end(), gid) == groups.end()) {
      groups.push_back(gid);
    }
  }
  return {};
}

}  // namespace

Result<CdiSpec> ParseCdiSpec(const Json& json) {
  CdiSpec out;
  JsonReader reader(json, "");
  std::string version;
  reader.Field("cdiVersion", &version);
  if (reader.ok() && version.empty()) reader.Fail("cdiVersion", "is missing");
  reader.Field("kind", &out.kind);
  if (reader.ok() && !IsKind(out.kind)) reader.Fail("kind", "expected vendor/class");
  if (reader.ok()) out.edits = ReadEdits(reader);
  reader.Objects("devices", [&](JsonReader& device) {
    std::string name;
    device.Field("name", &name);
    if (!IsName(name, false, "_-.:")) device.Fail("name", "is no name of a device");
    if (out.devices.contains(name)) device.Fail("name", "is there twice");
    out.devices[name] = ReadEdits(device);
  });
  TRY(reader.Finish());
  return out;
}

CdiRegistry CdiRegistry::Read(const std::vector<std::string>& directories) {
  CdiRegistry out;
  for (size_t i = 0; i < directories.size(); ++i) {
    std::error_code error;
    std::vector<std::string> paths;
    for (std::filesystem::directory_iterator entry(directories[i], error), end;
         !error && entry != end; entry.increment(error)) {
      std::string extension = entry->path().extension();
      bool known = extension == ".json" || extension == ".yaml" || extension == ".yml";
      if (known) paths.push_back(entry->path());
    }
    if (error && error != std::errc::no_such_file_or_directory) {
      out.errors_.push_back(fmt::format("{}: {}", directories[i], error.message()));
    }
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) {
      auto read = [&]() -> Result<CdiSpec> {
        std::string text = TRY(ReadFile(path, kMaxSpecBytes));
        bool json = path.ends_with(".json");
        return ParseCdiSpec(json ? TRY(Json::Parse(text)) : TRY(formats::ParseYaml(text)));
      };
      Result<CdiSpec> spec = read();
      if (spec.ok()) {
        out.AddSpec(*std::move(spec), path, i);
      } else {
        out.errors_.push_back(fmt::format("{}: {}", path, spec.error().message()));
      }
    }
  }
  return out;
}

void CdiRegistry::AddSpec(CdiSpec spec, const std::string& path, size_t directory) {
  for (const auto& [name, edits] : spec.devices) {
    std::string qualified = fmt::format("{}={}", spec.kind, name);
    auto [place, fresh] = places_.try_emplace(qualified);
    if (!fresh && place->second.directory == directory) {
      place->second.conflicts = true;
      errors_.push_back(fmt::format("{}: conflicting device \"{}\"", path, qualified));
      continue;
    }
    place->second = {specs_.size(), directory, false, name};
  }
  specs_.push_back(std::move(spec));
}

Result<> CdiRegistry::Inject(const std::vector<std::string>& names, oci::Spec* spec) const {
  std::string unknown;
  for (const std::string& name : names) {
    auto place = places_.find(name);
    if (place != places_.end() && !place->second.conflicts) continue;
    unknown.append(unknown.empty() ? "" : ", ").append(name);
  }
  if (!unknown.empty()) return InvalidArgument("unresolvable CDI devices {}", unknown);
  oci::Spec changed = *spec;
  std::set<size_t> seen;
  for (const std::string& name : names) {
    const Place& place = places_.at(name);
    const CdiSpec& source = specs_[place.spec];
    if (seen.insert(place.spec).second) TRY(Apply(source.edits, &changed));
    TRY(Apply(source.devices.at(place.device), &changed));
  }
  *spec = std::move(changed);
  return {};
}

std::vector<std::string> CdiRegistry::DeviceNames() const {
  std::vector<std::string> out;
  for (const auto& [name, place] : places_) {
    if (!place.conflicts) out.push_back(name);
  }
  return out;
}

}  // namespace gantry::engine
