// SPDX-License-Identifier: Apache-2.0
//
// What -v and --mount ask for, as docker's mount points: parsed, checked, the sources made where
// docker makes them, and turned into the mounts of config.json. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/config.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

struct MountPoint {
  std::string type;  // "bind"
  std::string source;
  std::string destination;
  std::string mode;         // what stood behind the last colon of -v
  std::string propagation;  // "rprivate", …
  bool writable = true;
  bool recursive = true;
  bool make_source = false;  // -v makes a missing directory, --mount does not
};

// Errors: kInvalidArgument in docker's words; a named volume is kUnimplemented.
Result<std::vector<MountPoint>> ParseMountPoints(const HostConfig& host);

// What the container's root needs so that this mount's propagation works.
void RaisePropagation(const MountPoint& point, std::string* rootfs_propagation);

// Makes missing sources of -v, refuses missing ones of --mount, and those that their mount does not
// share though they are to be shared.
Result<> PrepareSources(const std::vector<MountPoint>& points);

oci::Mount ToMount(const MountPoint& point);

}  // namespace gantry::engine
