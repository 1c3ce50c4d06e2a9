// SPDX-License-Identifier: Apache-2.0
#include "engine/api/create_shaping.h"

#include "engine/namespace_modes.h"

namespace gantry::engine::api {
namespace {

bool HasInterface(const std::string& mode) {
  return mode != "host" && mode != "none" && !IsContainerMode(mode);
}

// The container-wide address of versions before 1.44; from 1.52 on it is no field at all.
Result<> ShapeMacAddress(int minor, CreateRequest* request, Warnings* warnings) {
  ContainerConfig& config = request->config;
  if (minor >= 52) config.mac_address.clear();
  if (config.mac_address.empty()) return {};
  if (minor >= 44) {
    warnings->emplace_back(
        "The container-wide MacAddress field is now deprecated. It should be specified in "
        "EndpointsConfig instead.");
    return {};
  }
  if (HasInterface(request->host_config.network_mode)) return {};
  return InvalidArgument("conflicting options: mac-address and the network mode");
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
  TRY(ShapeMacAddress(minor, request, &warnings));
  return warnings;
}

}  // namespace gantry::engine::api
