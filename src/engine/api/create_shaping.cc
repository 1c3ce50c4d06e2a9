// SPDX-License-Identifier: Apache-2.0
#include "engine/api/create_shaping.h"

#include "engine/namespace_modes.h"

namespace gantry::engine::api {
namespace {

bool HasInterface(const std::string& mode) {
  return mode != "host" && mode != "none" && !IsContainerMode(mode);
}

// The settings of the network that the container is made on, for what older clients say of the
// container as a whole.
Result<EndpointConfig*> MainEndpoint(int minor, CreateRequest* request) {
  std::string& mode = request->host_config.network_mode;
  std::string name = mode.empty() || mode == "default" ? "bridge" : mode;
  auto& configs = request->networking_config.endpoints_config;
  if (configs.empty() || configs.contains(name)) return &configs[name];
  if (minor < 44) return &configs.begin()->second;
  if (name == "bridge" && configs.contains("default")) return &configs["default"];
  return InvalidArgument(
      "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks");
}

// The container-wide address of versions before 1.44; from 1.52 on it is no field at all.
Result<> ShapeMacAddress(int minor, CreateRequest* request, Warnings* warnings) {
  ContainerConfig& config = request->config;
  if (minor >= 52) config.mac_address.clear();
  if (minor < 44) {
    for (auto& [name, endpoint] : request->networking_config.endpoints_config) {
      endpoint.mac_address.clear();
    }
  }
  if (config.mac_address.empty()) return {};
  bool has_interface = HasInterface(request->host_config.network_mode);
  if (minor < 44) {
    if (has_interface) return {};
    return InvalidArgument("conflicting options: mac-address and the network mode");
  }
  if (has_interface) {
    EndpointConfig* endpoint =
        TRY_WITH(MainEndpoint(minor, request),
                 "unable to migrate container-wide MAC address to a specific network");
    if (!endpoint->mac_address.empty() && endpoint->mac_address != config.mac_address) {
      return InvalidArgument(
          "the container-wide MAC address must match the endpoint-specific MAC address for the "
          "main network, or be left empty");
    }
    endpoint->mac_address = config.mac_address;
  }
  warnings->emplace_back(
      "The container-wide MacAddress field is now deprecated. It should be specified in "
      "EndpointsConfig instead.");
  return {};
}

// Options of another type of mount than the mount's own: an error since 1.42, no matter before.
Result<> ShapeForeignOptions(int minor, MountConfig* mount) {
  bool foreign_volume = mount->volume_options && mount->type != "volume";
  bool foreign_bind = mount->bind_options && mount->type != "bind";
  bool foreign_tmpfs = mount->tmpfs_options && mount->type != "tmpfs";
  if (minor >= 42) {
    const char* field = foreign_volume  ? "VolumeOptions"
                        : foreign_bind  ? "BindOptions"
                        : foreign_tmpfs ? "TmpfsOptions"
                                        : nullptr;
    if (field == nullptr) return {};
    return InvalidArgument("{} must not be specified on mount type \"{}\"", field, mount->type);
  }
  if (foreign_volume) mount->volume_options.reset();
  if (foreign_tmpfs) mount->tmpfs_options.reset();
  return {};
}

Result<> ShapeMount(int minor, MountConfig* mount) {
  TRY(ShapeForeignOptions(minor, mount));
  if (mount->bind_options) {
    MountBindOptions& bind = *mount->bind_options;
    if (minor < 40) bind.non_recursive = false;
    if (minor < 42) bind.create_mountpoint = false;
    if (minor < 44 && mount->type == "bind" && bind.read_only_force_recursive) {
      return InvalidArgument("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
    }
  }
  if (minor < 45 && mount->volume_options && !mount->volume_options->subpath.empty()) {
    return InvalidArgument("VolumeOptions.Subpath needs API v1.45 or newer");
  }
  if (minor < 48 && mount->type == "image") {
    return InvalidArgument("Mount type \"Image\" needs API v1.48 or newer");
  }
  return {};
}

Result<> ShapeEndpoints(int minor, NetworkingConfig* networking) {
  auto& configs = networking->endpoints_config;
  if (minor < 44 && configs.size() > 1) {
    std::string names;
    for (const auto& [name, config] : configs) names += (names.empty() ? "" : ", ") + name;
    return InvalidArgument("Container cannot be created with multiple network endpoints: {}",
                           names);
  }
  if (minor < 48) {
    for (auto& [name, config] : configs) config.gateway_priority = 0;
  }
  return {};
}

// The driver that HostConfig names is that of binds; mounts have their own.
void WarnOfVolumeDriver(int minor, const HostConfig& host, Warnings* warnings) {
  if (minor < 48 || host.volume_driver.empty()) return;
  for (const MountConfig& mount : host.mounts) {
    const auto& options = mount.volume_options;
    bool named = options && options->driver_config && !options->driver_config->name.empty();
    if (mount.type != "volume" || named) continue;
    warnings->emplace_back(
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified "
        "via 'mount'. Use '--mount type=volume,volume-driver=...' instead");
    return;
  }
}

// A port with no bindings is published at a free port, which clients are told to write out.
void FillPortBindings(int minor, HostConfig* host, Warnings* warnings) {
  std::string empty;
  for (auto& [port, bindings] : host->port_bindings) {
    if (!bindings.empty()) continue;
    bindings.emplace_back();
    empty += (empty.empty() ? "" : ", ") + port;
  }
  if (empty.empty() || minor < 52) return;
  warnings->push_back(fmt::format(
      "Following container port(s) have an empty list of port-bindings: {}. Such bindings will be "
      "discarded in a future version.",
      empty));
}

}  // namespace

Result<Warnings> ShapeCreate(int minor, bool unified_cgroups, CreateRequest* request) {
  HostConfig& host = request->host_config;
  Warnings warnings;
  if (minor < 40 && host.ipc_mode.empty()) host.ipc_mode = kShareable;
  if (minor < 41) {
    if (host.cgroupns_mode.empty() && !unified_cgroups) host.cgroupns_mode = "host";
    request->platform.clear();
  }
  if (minor < 42) host.console_size = {};
  if (minor < 43) host.annotations.clear();
  if (minor < 44 && request->config.healthcheck) request->config.healthcheck->start_interval = 0;
  for (MountConfig& mount : host.mounts) TRY(ShapeMount(minor, &mount));
  TRY(ShapeEndpoints(minor, &request->networking_config));
  WarnOfVolumeDriver(minor, host, &warnings);
  TRY(ShapeMacAddress(minor, request, &warnings));
  FillPortBindings(minor, &host, &warnings);
  return warnings;
}

}  // namespace gantry::engine::api
