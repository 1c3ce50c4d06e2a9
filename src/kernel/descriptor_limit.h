// SPDX-License-Identifier: Apache-2.0
//
// How many descriptors this process may have open. Shells give 1,024, which a daemon with a few
// hundred containers or ports has not enough of. Called by the daemons' mains, before any thread.
#pragma once

#include <sys/resource.h>

#include <optional>

#include "base/error.h"

namespace gantry::kernel {

// From now on as many as the hard limit lets. Programs that Spawn starts get back what this process
// was started with: a container's limit is the administrator's, and programs that use select(2), or
// close every descriptor that they might have, suffer from large ones.
Result<> RaiseDescriptorLimit();

// What spawned programs get; nothing: what this process has.
std::optional<rlimit> InheritedDescriptorLimit();

}  // namespace gantry::kernel
