// SPDX-License-Identifier: Apache-2.0
//
// What POST /networks/create may ask of a bridge network, read and checked in docker's words: the
// driver's options and the address pools. Pure; any thread.
#pragma once

#include <map>
#include <string>

#include "base/error.h"
#include "networks/networks.h"

namespace gantry::engine {

// com.docker.network.bridge.…, com.docker.network.…; unknown ones are kept and mean nothing, as
// docker treats them.
Result<> ReadNetworkOptions(const std::map<std::string, std::string>& options,
                            networks::NetworkRequest* request);

// IPAM.Config; a subnet of a family that the network has not is kept and not used, as docker does.
Result<> ReadPools(networks::NetworkRequest* request);

// Go's strconv.ParseBool; the error names `key`.
Result<bool> ParseNetworkFlag(std::string_view key, const std::string& text);

}  // namespace gantry::engine
