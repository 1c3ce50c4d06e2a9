// SPDX-License-Identifier: Apache-2.0
//
// GET /containers/json: which containers are listed, and in what form. From memory alone, unless
// sizes are asked for.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> ListContainers(Call& call);

}  // namespace gantry::engine::api
