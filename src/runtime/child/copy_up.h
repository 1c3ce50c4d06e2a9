// SPDX-License-Identifier: Apache-2.0
//
// The mount option "tmpcopyup": a tmpfs begins with what the directory below it holds. In the
// child.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::runtime::child {

// Copies what is in directory `from` (O_PATH) into directory `to`, with owners, modes, times and
// extended attributes, and owner of `from` itself. Links are copied, never followed; other file
// systems below `from` are left out, sockets too.
Result<> CopyUp(BorrowedFd from, BorrowedFd to);

}  // namespace gantry::runtime::child
