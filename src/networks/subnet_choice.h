// SPDX-License-Identifier: Apache-2.0
//
// Which subnet a network gets when nobody says: the first of docker's default pools that is free on
// this host. Pure; any thread.
#pragma once

#include <vector>

#include "base/error.h"
#include "formats/ip_address.h"

namespace gantry::networks {

// 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in parts of /20. `used`: the host's addresses
// and routes and the other networks; a default route (length 0) forbids nothing.
Result<formats::Ipv4Prefix> ChooseSubnet(const std::vector<formats::Ipv4Prefix>& used);

}  // namespace gantry::networks
