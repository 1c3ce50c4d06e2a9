// SPDX-License-Identifier: Apache-2.0
//
// Keeps containers from writing to the runtime's own program file (kernel/protected_program.h): a
// runtime that joins a pid namespace where others are must run from a file that cannot be written
// to through its link in /proc. Our shim starts it from such a file; whoever else does, does not.
//
// A container with a new pid namespace has nobody in it who could look before its own program runs,
// and `exec` is refused until then, so `create` pays nothing.
#pragma once

#include "base/error.h"

namespace gantry::runtime {

// Returns if the program file is safe already; else executes the program again from a safe one.
Result<> ProtectOwnBinary(char** argv, char** envp);

}  // namespace gantry::runtime
