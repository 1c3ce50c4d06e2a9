// SPDX-License-Identifier: Apache-2.0
//
// The terminal of the container's process. In the child.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "runtime/child/plan.h"

namespace gantry::runtime::child {

// Opens a terminal in the devpts at `root` (its dev/pts/ptmx), sends the master to the console
// socket, and makes the slave 0, 1, 2 and the controlling terminal. kAtConsole also shows it as
// /dev/console; `root` is then the root that is being prepared.
enum class ConsoleNode : uint8_t { kNone, kAtConsole };
Result<> AttachTerminal(BorrowedFd root, const ProcessPlan& plan, ConsoleNode node);

}  // namespace gantry::runtime::child
