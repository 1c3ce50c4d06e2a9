// SPDX-License-Identifier: Apache-2.0
//
// Handlers of /containers/{id}/exec and /exec. They run on workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> CreateExec(Call& call);
Result<> StartExec(Call& call);
Result<> ResizeExec(Call& call);
Result<> InspectExec(Call& call);

}  // namespace gantry::engine::api
