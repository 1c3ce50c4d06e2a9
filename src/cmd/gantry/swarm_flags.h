// SPDX-License-Identifier: Apache-2.0
//
// The flags of docker's commands for swarms and plugins, for help, completion and errors: gantry's
// engine refuses those commands before a flag could matter, so their values go nowhere. One thread.
#pragma once

#include <string_view>

#include "cmd/gantry/cli.h"
#include "cmd/gantry/command.h"
#include "cmd/gantry/flags.h"

namespace gantry::cli {

// `command` as "service create". A command that has none gets none.
void BindSwarmFlags(std::string_view command, Flags* flags);

// For what only a swarm can do: hands the engine's answer to "are you one?" on (swarm.cc).
Result<int> AskForSwarm(Cli& cli, Invocation& call);

}  // namespace gantry::cli
