// SPDX-License-Identifier: Apache-2.0
//
// run --use-api-socket: a container that may speak to the engine as its user does. It gets the
// engine's socket at docker's usual place, and a config.json with the user's credentials. One
// thread.
#pragma once

#include <string>

#include "base/error.h"
#include "cmd/gantry/cli.h"

namespace gantry::cli {

// Adds the mount of the socket and, when there are credentials and the user has set no
// DOCKER_CONFIG, the variable that names their place. The text of that config.json; "": none.
Result<std::string> AddApiSocket(Cli& cli, Json* body);

// Puts it there, before the container is started.
Result<> PutCredentials(Api* api, const std::string& id, const std::string& config);

}  // namespace gantry::cli
