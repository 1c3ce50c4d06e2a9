// SPDX-License-Identifier: Apache-2.0
//
// Images in layouts of the client's, imported for the time of a build (layout_context.cc). Any
// thread; a call blocks.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"
#include "build/request.h"
#include "engine/engine.h"

namespace gantry::build {

// "STORE@DIGEST" over the client's session. Returns its name in the store; what must be dropped
// again is in `names` as well.
Result<std::string> ImportLayoutImage(engine::Engine& engine, const BuildRequest& request,
                                      const std::string& text, const StopToken& stop,
                                      std::vector<std::string>* names);
void DropLayoutImages(engine::Engine& engine, const std::vector<std::string>& names);

}  // namespace gantry::build
