// SPDX-License-Identifier: Apache-2.0
//
// The long-lived part of the shim: one thread, one loop, one container and those of its group.
// Returns when the daemon has shut it down.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "shim/arguments.h"

namespace gantry::shim {

enum class ServedFor {
  kDaemon,  // whose Create for `arguments.id` is awaited
  kPerson,
};

// `listener`: the ttrpc socket at `socket_path`, which is removed at the end. The working directory
// is the bundle.
Result<> Serve(const Arguments& arguments, ServedFor whom, UniqueFd listener,
               const std::string& socket_path);

// Makes the socket's directory (0700) and the socket, replacing one that nobody answers on. With a
// shim behind it that `id` may join (shim/group.h) it is kAlreadyExists, or without an id that
// answers at all.
Result<UniqueFd> ListenAt(const std::string& path, const std::string& id = "");

// Of a shim that has died; one that somebody answers on stays.
void RemoveDeadSocket(const std::string& path);

}  // namespace gantry::shim
