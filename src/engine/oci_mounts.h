// SPDX-License-Identifier: Apache-2.0
//
// The mounts of a container: docker's defaults, what the user mounts over them, tmpfs. Any thread.
#pragma once

#include <vector>

#include "base/error.h"
#include "engine/oci_spec.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

Result<std::vector<oci::Mount>> MakeMounts(const SpecRequest& request);

}  // namespace gantry::engine
