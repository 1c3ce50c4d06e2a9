// SPDX-License-Identifier: Apache-2.0
//
// Capability sets of the calling thread (capabilities(7)), as bit masks: bit 0 is CAP_CHOWN. For a
// process with one thread.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace gantry::kernel {

struct CapabilitySets {
  uint64_t bounding = 0;
  uint64_t effective = 0;
  uint64_t inheritable = 0;
  uint64_t permitted = 0;
  uint64_t ambient = 0;
};

// What the caller may still hold: its bounding set, all the kernel knows.
Result<uint64_t> BoundingSet();
// Drops from the bounding set what `keep` lacks; needs CAP_SETPCAP.
Result<> DropBoundingSet(uint64_t keep);
// Sets the four other ones; after the change of user, with PR_SET_KEEPCAPS before it.
Result<> SetCapabilities(const CapabilitySets& sets);
// effective := permitted, in between; returns them.
Result<uint64_t> RaisePermitted();

}  // namespace gantry::kernel
