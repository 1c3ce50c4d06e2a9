// SPDX-License-Identifier: Apache-2.0
//
// Handlers of /networks (network_handlers.cc: what is there, network_changes.cc) and /volumes. They
// run on workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> ListNetworks(Call& call);
Result<> InspectNetwork(Call& call);
Result<> CreateNetwork(Call& call);
Result<> RemoveNetwork(Call& call);
Result<> ConnectNetwork(Call& call);
Result<> DisconnectNetwork(Call& call);
Result<> PruneNetworks(Call& call);

}  // namespace gantry::engine::api
