// SPDX-License-Identifier: Apache-2.0
//
// Limits on memory, processors, processes and block devices: docker's errors, and its warnings for
// what the kernel can't keep, which is taken out of the request. Any thread.
#pragma once

#include "base/error.h"
#include "engine/config_checks.h"

namespace gantry::engine {

enum class ResourceCheck { kCreate, kUpdate };

Result<Warnings> CheckResources(const HostFacts& facts, HostConfig* host, ResourceCheck what);
// What docker checks first of all: real-time scheduling and the sign of the shares.
Result<> CheckRealtime(const CgroupFeatures& features, const HostConfig& host);

}  // namespace gantry::engine
