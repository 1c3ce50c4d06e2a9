// SPDX-License-Identifier: Apache-2.0
//
// Sockets that listen, from the URLs that -H takes: "unix:///path", "tcp://host:port". Any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::wire {

// A unix socket replaces a socket at its path on which nobody answers; it has mode 0660 and, where
// that group exists, `group`. Non-blocking.
Result<UniqueFd> OpenListener(const std::string& url, const std::string& group);

}  // namespace gantry::wire
