// SPDX-License-Identifier: Apache-2.0
//
// What the files below a directory hold. No link in it is followed. Any thread.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// Bytes of files and links, each inode once, as docker counts. What vanishes meanwhile counts
// nothing. kResourceExhausted for a tree of more than 1,000 levels.
Result<int64_t> TreeSize(UniqueFd directory);

}  // namespace gantry::kernel
