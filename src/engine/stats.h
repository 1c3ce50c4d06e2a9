// SPDX-License-Identifier: Apache-2.0
//
// A container's use of the host, for GET /containers/{id}/stats: read from its cgroups and its
// network namespace. Any thread.
#pragma once

#include "base/error.h"
#include "engine/container.h"
#include "formats/json.h"

namespace gantry::engine {

// The form of a sample with nothing in it, as docker gives it for a container that does not run.
formats::Json EmptyStats(const ContainerRecord& record);
// All but "precpu_stats" and "preread", which are those of the sample before.
Result<formats::Json> SampleStats(const ContainerRecord& record);

}  // namespace gantry::engine
