// SPDX-License-Identifier: Apache-2.0
//
// GET /system/df: what images, containers, volumes and the build cache take on the disk.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> GetDiskUsage(Call& call);

}  // namespace gantry::engine::api
