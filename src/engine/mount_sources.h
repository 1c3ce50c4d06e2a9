// SPDX-License-Identifier: Apache-2.0
//
// The host's side of bind mounts: sources that have to be there or to be made, and to be shared.
// Any thread.
#pragma once

#include "base/error.h"
#include "engine/mount_points.h"

namespace gantry::engine {

// Makes missing sources of -v, refuses missing ones of --mount, and those that their mount does not
// share though they are to be shared; those with `slave_if_possible` become private then.
Result<> PrepareSources(std::vector<MountPoint>* points);

}  // namespace gantry::engine
