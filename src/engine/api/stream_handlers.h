// SPDX-License-Identifier: Apache-2.0
//
// Handlers whose answer goes on after they have returned: logs, wait, attach, events. They run on
// workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> GetLogs(Call& call);
Result<> WaitContainer(Call& call);
Result<> AttachContainer(Call& call);
Result<> GetEvents(Call& call);

}  // namespace gantry::engine::api
