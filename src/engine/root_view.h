// SPDX-License-Identifier: Apache-2.0
//
// Read-only looks at what a snapshot's mounts show. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "client/containerd.h"

namespace gantry::engine {

// A detached read-only mount of the same layers, so that nothing of the container is touched.
Result<UniqueFd> OpenReadOnlyView(const client::Mount& mount);

// The layers' own directories of that path, uppermost first; those that have none are left out. ""
// is the root. Nothing for mounts that are no overlay.
std::vector<UniqueFd> OpenLayers(const client::Mount& mount, const std::string& path);

}  // namespace gantry::engine
