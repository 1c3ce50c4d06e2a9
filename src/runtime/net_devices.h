// SPDX-License-Identifier: Apache-2.0
//
// linux.netDevices: network interfaces of the host that go to the container. In the parent, between
// the birth of the child and its first step.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "runtime/child/plan.h"

namespace gantry::runtime {

// Names, and that there is a network namespace of the container's own.
Result<> CheckNetDevices(const oci::LinuxPlatform& platform);
// Into the namespace that `plan` joins, or else that of the child.
Result<> MoveNetDevices(const oci::LinuxPlatform& platform, const child::CreatePlan& plan,
                        pid_t child);

}  // namespace gantry::runtime
