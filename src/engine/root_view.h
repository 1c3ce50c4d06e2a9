// SPDX-License-Identifier: Apache-2.0
//
// Read-only looks at what a snapshot's mounts show. Any thread.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "client/containerd.h"

namespace gantry::engine {

// A detached read-only mount of the same layers, so that nothing of the container is touched.
Result<UniqueFd> OpenReadOnlyView(const client::Mount& mount);

}  // namespace gantry::engine
