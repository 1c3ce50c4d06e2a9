// SPDX-License-Identifier: Apache-2.0
//
// The long-lived part of the shim: one thread, one loop, one container and those of its group.
// Returns when the daemon has shut it down.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "shim/arguments.h"

namespace gantry::shim {

// `listener`: the ttrpc socket at `socket_path`, which is removed at the end. The working directory
// is the bundle.
Result<> Serve(const Arguments& arguments, UniqueFd listener, const std::string& socket_path);

// Whether somebody does behind the socket.
bool Answers(const std::string& path);

// Makes the socket's directory (0700) and the socket, replacing one that nobody answers on.
// kAlreadyExists when somebody does.
Result<UniqueFd> ListenAt(const std::string& path);

}  // namespace gantry::shim
