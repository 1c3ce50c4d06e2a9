// SPDX-License-Identifier: Apache-2.0
//
// The networks that a client can name: those of networks::Controller, and `host` and `none`, which
// are no networks but are listed, inspected and joined as if they were. Any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/config.h"
#include "networks/counters.h"
#include "networks/networks.h"

namespace gantry::engine {

// By id, name or unique prefix of an id. kNotFound: "network NAME not found"; kInvalidArgument when
// a prefix fits several.
Result<networks::Network> FindNetwork(const networks::Controller& controller,
                                      std::string_view reference);
std::vector<networks::Network> AllNetworks(const networks::Controller& controller);

// Made by a user: it has names, aliases, static addresses.
bool IsUserDefined(const networks::Network& network);
// `host` or `none`.
bool IsSpecial(const networks::Network& network);

// What has passed each endpoint's interface on the host, by its name.
Result<std::map<std::string, networks::Counters>> EndpointCounters();

// The network that HostConfig.NetworkMode names ("bridge" for "default"), or "container:…".
std::string NetworkName(const HostConfig& host);
bool JoinsContainer(const HostConfig& host);

// Id of the endpoint that a container has on `host` or `none`: made of the container's own.
std::string SpecialEndpointId(std::string_view container_id, const networks::Network& network);

}  // namespace gantry::engine
