// SPDX-License-Identifier: Apache-2.0
//
// Short texts for a program that wants a file: no name, nothing to remove. Any thread.
#pragma once

#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

// memfd_create(2): readable from its beginning. `name` shows in /proc/PID/fd only.
Result<UniqueFd> MemoryFile(const char* name, std::string_view content);

}  // namespace gantry::kernel
