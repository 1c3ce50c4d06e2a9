// SPDX-License-Identifier: Apache-2.0
//
// What docker refuses in a request to create or update a container, in its order and words, and
// what it only warns of: limits that this host's kernel can't keep are taken out of the request.
// Reads nothing but its arguments. Any thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/cgroup_features.h"
#include "engine/config.h"

namespace gantry::engine {

// What the checks depend on beside the request.
struct HostFacts {
  CgroupFeatures cgroups;
  bool cgroup_namespaces = true;
  bool forwards_ipv4 = true;
  int64_t cpus = 1;
  bool remaps_users = false;     // --userns-remap
  bool systemd_cgroups = false;  // cgroups are made by systemd
  bool layer_quotas = false;     // the snapshotter limits writable layers
  std::set<std::string> runtimes;
};

using Warnings = std::vector<std::string>;

// Everything that is wrong with a create request without looking at images, other containers or
// the host's files. Errors: kInvalidArgument.
Result<Warnings> CheckCreate(const HostFacts& facts, ContainerConfig* config, HostConfig* host);

// The most that may be written into the container's layer, bytes, as `--storage-opt size=` says; 0:
// any amount. kInvalidArgument: it is no size.
Result<int64_t> LayerQuota(const std::map<std::string, std::string>& storage_options);

// CheckCreate for the limits and the restart policy of an update; fields at zero are not asked for.
Result<Warnings> CheckUpdate(const HostFacts& facts, HostConfig* host);

}  // namespace gantry::engine
