// SPDX-License-Identifier: Apache-2.0
//
// "proxies" of config.json: what containers get as HTTP_PROXY and the like. Pure.
#pragma once

#include <string>

#include "formats/json.h"

namespace gantry::cli {

// Adds the variables for the daemon at `host`, or the default ones, to "Env" of a container's
// `body`; what the user has set himself stays.
void AddProxies(const formats::Json& config, const std::string& host, formats::Json* body);

}  // namespace gantry::cli
