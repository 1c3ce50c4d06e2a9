// SPDX-License-Identifier: Apache-2.0
//
// Settings of one network interface (/proc/sys/net/FAMILY/GROUP/INTERFACE/KEY), in the namespace of
// the calling thread. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::kernel {

// Written only when it is another one. `group` is "conf" or "neigh"; the interface's name may have
// dots. kNotFound: the kernel knows no such setting, or no such interface.
Result<> SetInterfaceSetting(std::string_view family, std::string_view group,
                             std::string_view interface, std::string_view key,
                             std::string_view value);

// With IPv6: no router of the network tells the interface its addresses, and its own need no second
// of waiting for another who may have them. Without: it takes part in nothing of IPv6. A kernel
// that has no IPv6: an error when it is to be on.
Result<> SetIpv6(const std::string& interface, bool on);

}  // namespace gantry::kernel
