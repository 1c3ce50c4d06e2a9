// SPDX-License-Identifier: Apache-2.0
//
// -p and --expose as docker's users write them:
//
//   publish := [ [ip ":"] [host] ":" ] container [ "/" proto ];  host, container := port [ "-" port
//   ]
//
// Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::cli {

// Adds the ports of one -p to ExposedPorts ({"80/tcp": {}}) and PortBindings
// ({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}).
Result<> AddPublished(const std::string& spec, formats::Json* exposed, formats::Json* bindings);
// "80", "80-90/udp" to ExposedPorts.
Result<> AddExposed(const std::string& spec, formats::Json* exposed);

}  // namespace gantry::cli
