// SPDX-License-Identifier: Apache-2.0
//
// `gantry-containerd fsck [--repair]`: what CheckStores() found, a line each.
#pragma once

#include "containerd/options.h"

namespace gantry::containerd {

// Exit codes of fsck(8): 0 all is well, 1 everything was repaired, 4 something is left, 8 it could
// not be done.
int RunFsck(const Options& options);

}  // namespace gantry::containerd
