// SPDX-License-Identifier: Apache-2.0
//
// The ids of a new user namespace (user_namespaces(7)), by whoever may write them: a privileged
// caller, or an unprivileged one for its own id alone, or newuidmap(1) for what /etc/subuid gives
// it. In the parent; one thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"

namespace gantry::runtime {

// Not root, or root only of a user namespace.
bool IsUnprivileged();

// As a uid_map has them.
std::string IdMapLines(const std::vector<oci::IdMapping>& mappings);

// Writes /proc/PID/uid_map and gid_map.
Result<> WriteIdMaps(pid_t pid, const oci::LinuxPlatform& platform);

}  // namespace gantry::runtime
