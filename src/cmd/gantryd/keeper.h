// SPDX-License-Identifier: Apache-2.0
//
// `gantryd --keep`: for hosts without a service manager. A parent that does nothing but start
// gantryd again when a signal has killed it, and reap what it leaves, at once: it is the subreaper
// of all its descendants (prctl(2), PR_SET_CHILD_SUBREAPER), so killed daemons and shims are gone
// as soon as they are dead, whatever process 1 is. One thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace gantry::gantryd {

// Runs `program` with `arguments` until it exits by itself; yields its exit code. SIGTERM, SIGINT
// and SIGHUP are passed on.
Result<int> Keep(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace gantry::gantryd
