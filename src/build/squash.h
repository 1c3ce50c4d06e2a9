// SPDX-License-Identifier: Apache-2.0
//
// `build --squash` (docker's experimental mode): all layers that a build has put on its base become
// one. One thread.
#pragma once

#include "base/error.h"
#include "build/stage_state.h"
#include "engine/engine.h"
#include "engine/new_image.h"

namespace gantry::build {

// The state afterwards. Its layer is held by `lease` until an image names it. What has no layer of
// its own stays as it is.
Result<StageState> Squash(engine::Engine& engine, const engine::Lease& lease, StageState state);

}  // namespace gantry::build
