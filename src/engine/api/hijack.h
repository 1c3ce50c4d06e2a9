// SPDX-License-Identifier: Apache-2.0
//
// Taking a connection over for attach and exec: 101 for clients that ask for an upgrade, 200 with a
// raw stream for old ones (docs/connections.md).
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

// The media type of a process's streams: raw for a terminal; multiplexed has a name of its own
// since API 1.42.
std::string_view StreamMediaType(const Call& call, bool terminal);

Result<wire::Exchange::Raw> TakeConnection(Call& call, bool terminal);

}  // namespace gantry::engine::api
