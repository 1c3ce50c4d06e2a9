// SPDX-License-Identifier: Apache-2.0
//
// Program files that nobody can write to through a process that runs them. A process of a container
// can reach its runtime's file as /proc/PID/exe, or by a script that begins with "#!/proc/self/exe"
// (CVE-2019-5736). Any thread.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// Whether `file`, opened for reading, is one of those that ProtectProgram returns.
bool IsProtectedProgram(BorrowedFd file);
// The same program for execveat(2): on a read-only mount that nobody sees, or, without
// CAP_SYS_ADMIN, in a sealed memory file.
Result<UniqueFd> ProtectProgram(BorrowedFd file);

}  // namespace gantry::kernel
