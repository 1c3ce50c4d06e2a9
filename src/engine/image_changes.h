// SPDX-License-Identifier: Apache-2.0
//
// The instructions that commit and import apply to an image's configuration (--change): CMD,
// ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR in a
// Dockerfile's grammar. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/config.h"

namespace gantry::engine {

// One instruction a line. kInvalidArgument names the first that is wrong.
Result<> ApplyChanges(const std::vector<std::string>& lines, ContainerConfig* config);

}  // namespace gantry::engine
