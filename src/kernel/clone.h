// SPDX-License-Identifier: Apache-2.0
//
// clone3(2), for kernel/spawn and for the runtime's create. Any thread.
#pragma once

#include <linux/sched.h>
#include <sys/types.h>

namespace gantry::kernel {

// Runs function(argument) in a new process on the stack that args->stack names (the function's
// return value is the exit code), and returns the process's id or -errno. The function runs on a
// stack of its own because with CLONE_VM it would otherwise write over the caller's frames.
// Where a filter knows no clone3, clone(2) does it if it can express the flags; handlers of signals
// are then still the caller's.
pid_t CloneOnStack(clone_args* args, int (*function)(void*), void* argument);

// As fork(2) with clone3's flags: 0 in the child, its id in the parent, or -errno. The caller has
// one thread.
pid_t CloneFork(clone_args* args);

}  // namespace gantry::kernel
