// SPDX-License-Identifier: Apache-2.0
//
// GET /info: the engine, its configuration and its host on one page.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> GetInfo(Call& call);

}  // namespace gantry::engine::api
