// SPDX-License-Identifier: Apache-2.0
//
// Handlers whose answer goes on after they have returned: logs, wait, events. They run on
// workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> GetLogs(Call& call);
Result<> WaitContainer(Call& call);
Result<> GetEvents(Call& call);

}  // namespace gantry::engine::api
