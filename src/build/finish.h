// SPDX-License-Identifier: Apache-2.0
//
// The end of a build: its image is written and gets its names. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "build/stage_state.h"
#include "engine/engine.h"
#include "engine/new_image.h"

namespace gantry::build {

struct StoreAs {
  std::vector<std::string> names;   // in the store; none: an image without a name
  engine::Annotations annotations;  // of the manifest; any make it another image than its base
};
// Returns the image's id. `squash`: squash.h.
Result<std::string> StoreResult(engine::Engine& engine, StageState state, const StoreAs& as,
                                bool squash);

}  // namespace gantry::build
