// SPDX-License-Identifier: Apache-2.0
//
// Sockets that listen, from the URLs that -H takes: "unix:///path", "tcp://host:port". Any thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::wire {

// A group's number by its name, or as it is when it is a number. kNotFound: there is none.
Result<gid_t> FindGroup(const std::string& group);

// A unix socket replaces a socket at its path on which nobody answers; it has mode 0660 and `group`
// (FindGroup's), "" for the process's own. Non-blocking.
Result<UniqueFd> OpenListener(const std::string& url, const std::string& group);

}  // namespace gantry::wire
