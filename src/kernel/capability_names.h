// SPDX-License-Identifier: Apache-2.0
//
// The names of the kernel's capabilities (capabilities(7)). Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.h"

namespace gantry::kernel {

// "CAP_CHOWN", … in the order of their numbers, up to CAP_CHECKPOINT_RESTORE (40).
std::span<const std::string_view> CapabilityNames();
// The number of a name such as "CAP_CHOWN".
std::optional<int> CapabilityNumber(std::string_view name);
// This process's permitted set as a bit mask: what it can hand on to a container.
Result<uint64_t> PermittedCapabilities();

}  // namespace gantry::kernel
