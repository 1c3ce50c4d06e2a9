// SPDX-License-Identifier: Apache-2.0
//
// POST /images/prune: images without a name, or with dangling=false all that no container uses.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> PruneImages(Call& call);

}  // namespace gantry::engine::api
