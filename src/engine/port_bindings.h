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

// What `gantry update --publish-add --publish-rm` sends in the field "GantryPublish" of an update
// (docs/container-settings.md): {"Add": PORTBINDINGS, "Remove": PORTBINDINGS}. A binding to remove
// that says no address, or no port of the host, is every such one. False: there is no such field.
// kInvalidArgument: what is to be removed is not published, what is to be added is already.
Result<bool> ChangePortBindings(const formats::Json& update, HostConfig* host);

}  // namespace gantry::engine
