// SPDX-License-Identifier: Apache-2.0
//
// A container's use of the host, for GET /containers/{id}/stats: read from its cgroups and its
// network namespace. Any thread.
#pragma once

#include "base/error.h"
#include "engine/container.h"
#include "formats/json.h"

namespace gantry::engine {

// docker's document without "precpu_stats" and "preread". One that does not run has no figures.
Result<formats::Json> SampleStats(const ContainerRecord& record);

}  // namespace gantry::engine
