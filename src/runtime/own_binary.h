// SPDX-License-Identifier: Apache-2.0
//
// Keeps containers from writing to the runtime's own program file. A process of a container can
// reach it as /proc/PID/exe of a runtime process in its pid namespace, or by a script that begins
// with "#!/proc/self/exe" (CVE-2019-5736), so a runtime that joins a pid namespace where others are
// must run from a file that cannot be written to through that link.
//
// A container with a new pid namespace has nobody in it who could look before its own program runs,
// and `exec` is refused until then, so `create` pays nothing.
#pragma once

#include "base/error.h"

namespace gantry::runtime {

// Returns if the program file is safe already; else executes the program again from a read-only
// mount of itself that nobody sees, or from a sealed memory file.
Result<> ProtectOwnBinary(char** argv, char** envp);

}  // namespace gantry::runtime
