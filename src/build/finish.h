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

// Returns the image's id.
Result<std::string> StoreResult(engine::Engine& engine, const StageState& state,
                                const std::vector<std::string>& names);

}  // namespace gantry::build
