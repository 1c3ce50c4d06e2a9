// SPDX-License-Identifier: Apache-2.0
//
// User namespaces that are made before anybody is in them: to carry a mapping of ids for idmapped
// mounts (mount_setattr(2)), and for a container to join. Any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// A new user namespace that nobody is in; the maps are lines as in /proc/PID/uid_map.
Result<UniqueFd> MakeUserNamespace(const std::string& uid_map, const std::string& gid_map);

// A network namespace that belongs to a user namespace.
Result<UniqueFd> MakeNetworkNamespaceIn(BorrowedFd user_namespace);

}  // namespace gantry::kernel
