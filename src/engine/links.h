// SPDX-License-Identifier: Apache-2.0
//
// `--link`: on the default bridge the other container's address in /etc/hosts and its ports and
// variables in the environment; on users' networks a name (network_attach.cc). Any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/container.h"
#include "networks/records.h"

namespace gantry::engine {

// "name:alias", "name"; also "/name:/parent/alias", as inspect shows it. The name and the alias.
std::pair<std::string, std::string> ParseLink(std::string_view text);

// A container on the default bridge that another one is linked to.
struct LinkedContainer {
  std::string alias;
  Container::RecordPointer record;
  networks::Endpoint endpoint;
};

// EXPOSE and published ports, tcp first, then by number, as docker orders them.
std::vector<networks::ExposedPort> ExposedPorts(const ContainerRecord& record);

// Lines of /etc/hosts.
std::string LinkHosts(const std::vector<LinkedContainer>& links);
// DB_NAME, DB_PORT, DB_PORT_80_TCP…, DB_ENV_…, as docker makes them; `name` is of the container
// that they are for.
std::vector<std::string> LinkEnvironment(const std::string& name,
                                         const std::vector<LinkedContainer>& links);

}  // namespace gantry::engine
