// SPDX-License-Identifier: Apache-2.0
//
// Copies what is in one directory into another, empty one: contents (reflinked where the file
// system can), modes, owners, times, extended attributes, hard links, devices; also those of the
// directory itself. Nobody writes to `from` meanwhile. `to` may be in hostile hands: no link in it
// is followed. Any thread.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// `layers`: where `from` is an overlay, the directories that it shows there, uppermost first, so
// that contents can be shared with them.
Result<> CopyTree(BorrowedFd from, BorrowedFd to, const std::vector<UniqueFd>& layers = {});

}  // namespace gantry::kernel
