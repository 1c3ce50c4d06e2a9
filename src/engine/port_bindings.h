// SPDX-License-Identifier: Apache-2.0
//
// Published ports: docker's PortBindings and -P as requests to the networks. Pure; any thread.
#pragma once

#include <vector>

#include "base/error.h"
#include "engine/config.h"
#include "networks/networks.h"

namespace gantry::engine {

// A container port: "80/tcp", "53/udp", "80".
struct ContainerPort {
  uint16_t port = 0;
  networks::Protocol protocol = networks::Protocol::kTcp;
};
Result<ContainerPort> ParseContainerPort(std::string_view text);

// Errors: kInvalidArgument in docker's words, such as "invalid port specification: \"x\"".
Result<std::vector<networks::PortRequest>> ParsePortBindings(const ContainerConfig& config,
                                                             const HostConfig& host);

}  // namespace gantry::engine
