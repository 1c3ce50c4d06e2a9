// SPDX-License-Identifier: Apache-2.0
//
// What the shim's binary does besides serving: `start`, `delete`, -info. Called by main; each
// writes its answer to standard output and nothing to standard error when it succeeds, since
// containerd reads both together.
#pragma once

#include "base/error.h"
#include "shim/arguments.h"

namespace gantry::shim {

// Makes the socket, forks the server, tells the address.
Result<> RunStart(const Arguments& arguments, char** argv);
// After the shim's death: kills what is left, removes what is left, tells how the init ended.
Result<> RunDelete(const Arguments& arguments);
// RuntimeInfo for `ctr` and the CRI; the options (an Any) come on standard input.
Result<> RunInfo();

}  // namespace gantry::shim
