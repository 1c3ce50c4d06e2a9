// SPDX-License-Identifier: Apache-2.0
//
// A container's cgroup figures as containerd's clients read them: an Any with
// io.containerd.cgroups.v1.Metrics or io.containerd.cgroups.v2.Metrics. Any thread.
#pragma once

#include "base/error.h"
#include "formats/protobuf_wire.h"
#include "kernel/cgroups.h"

namespace gantry::shim {

Result<formats::ProtoAny> ReadMetrics(const kernel::CgroupPaths& paths);

}  // namespace gantry::shim
