// SPDX-License-Identifier: Apache-2.0
//
// PID 1 of a container: starts the one program, passes signals to it, reaps every orphan, ends as
// the program ended. Called by gantry-init's main; one thread, no memory is allocated here.
#pragma once

#include "init/options.h"

namespace gantry::init {

// The exit code: the program's own, 128 + the signal that killed it, 127 when it is not found, 126
// when it cannot be executed, 1 when we fail.
int Supervise(const Options& options);

}  // namespace gantry::init
