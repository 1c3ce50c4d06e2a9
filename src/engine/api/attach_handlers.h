// SPDX-License-Identifier: Apache-2.0
//
// Joining a client to a container's streams: POST …/attach and GET …/attach/ws. They run on workers
// until the client is handed over.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> AttachContainer(Call& call);
Result<> AttachWebSocket(Call& call);

}  // namespace gantry::engine::api
