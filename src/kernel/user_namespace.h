// SPDX-License-Identifier: Apache-2.0
//
// User namespaces that only carry a mapping of ids, for idmapped mounts (mount_setattr(2)). Called
// by programs of one thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// A new user namespace that nobody is in; the maps are lines as in /proc/PID/uid_map.
Result<UniqueFd> MakeUserNamespace(const std::string& uid_map, const std::string& gid_map);

}  // namespace gantry::kernel
