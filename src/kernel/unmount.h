// SPDX-License-Identifier: Apache-2.0
//
// Taking a mount off its place. Any thread.
#pragma once

#include <string>

#include "base/error.h"

namespace gantry::kernel {

// Everything that is mounted on `path` itself, now; who still uses it keeps it. No error when
// nothing is mounted there or the path is gone; a symbolic link is not followed.
Result<> UnmountAll(const std::string& path);

}  // namespace gantry::kernel
