// SPDX-License-Identifier: Apache-2.0
//
// GET /containers/{id}/stats: a sample a second for as long as the client listens, or one. Between
// two samples nothing of it runs; a client that does not read gets the next sample when it does.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> GetStats(Call& call);

}  // namespace gantry::engine::api
