// SPDX-License-Identifier: Apache-2.0
//
// The name that the program was called by: linked as `docker` it says docker in all its texts, so
// that what users' scripts read stays the same. Set once by main. One thread.
#pragma once

#include <string>
#include <string_view>

namespace gantry::cli {

// `path` is argv[0].
void SetProgramName(std::string_view path);
// "gantry" or "docker".
std::string_view ProgramName();
// What messages call the daemon: "gantry daemon" or "Docker daemon".
std::string_view DaemonName();

// GANTRY_name, else DOCKER_name, else "".
std::string Setting(std::string_view name);

}  // namespace gantry::cli
