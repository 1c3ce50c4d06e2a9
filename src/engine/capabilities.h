// SPDX-License-Identifier: Apache-2.0
//
// Capabilities of a container: docker's default, --cap-add, --cap-drop, --privileged. Names are
// "CAP_…"; "ALL" and names without the prefix or in small letters are understood. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/config.h"

namespace gantry::engine {

// Unknown names, and those that this process can't hand on. Errors: kInvalidArgument.
Result<> CheckCapabilities(const HostConfig& host);

// docker's default, changed by --cap-add and --cap-drop; everything this process may hand on when
// privileged.
Result<std::vector<std::string>> MakeCapabilities(const HostConfig& host);
// Everything that this process may hand on.
Result<std::vector<std::string>> AvailableCapabilities();

}  // namespace gantry::engine
