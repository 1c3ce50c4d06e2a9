// SPDX-License-Identifier: Apache-2.0
//
// `gantry-containerd fsck [--repair] [--quick]`: what Fsck() finds, a line each.
#pragma once

#include "containerd/options.h"

namespace gantry::containerd {

// The exit code: 0 when everything is in order or was repaired, otherwise 1.
int RunFsck(const Options& options);

}  // namespace gantry::containerd
