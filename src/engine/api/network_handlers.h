// SPDX-License-Identifier: Apache-2.0
//
// Handlers of /networks and /volumes: what is there. They run on workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> ListNetworks(Call& call);
Result<> InspectNetwork(Call& call);

}  // namespace gantry::engine::api
