// SPDX-License-Identifier: Apache-2.0
//
// The end of a build: its image is written and gets its names. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "build/stage_state.h"
#include "engine/engine.h"

namespace gantry::build {

// Returns the image's id. `squash`: squash.h.
Result<std::string> StoreResult(engine::Engine& engine, StageState state,
                                const std::vector<std::string>& names, bool squash);

}  // namespace gantry::build
