// SPDX-License-Identifier: Apache-2.0
//
// Starts a container that gantry-runtime has created, without running `gantry-runtime start`: the
// container's first process waits in accept() at ROOT/ID/gate; whoever connects lets it go on. The
// same steps as the runtime's (src/runtime/create.cc), one process start less. For containers
// without poststart hooks. The loop's thread.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"

namespace gantry::shim {

// An error here: nothing has happened, the runtime may be asked instead. Else `done` is called from
// the loop: when the program runs, or with what kept it from running.
Result<> OpenGate(EventLoop* loop, const std::string& state_directory,
                  std::function<void(Result<>)> done);

}  // namespace gantry::shim
