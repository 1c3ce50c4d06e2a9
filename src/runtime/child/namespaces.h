// SPDX-License-Identifier: Apache-2.0
//
// What belongs to a namespace and is set from inside it: host name, sysctl, the loopback interface.
// In the child, while the host's /proc is still there: /proc/sys shows the caller's namespaces.
#pragma once

#include "base/error.h"
#include "oci/runtime_spec.h"

namespace gantry::runtime::child {

Result<> SetHostName(const oci::Spec& spec);
// Refuses keys that are not of a namespace of the container's own: they would change the host.
Result<> SetSysctls(const oci::Spec& spec);
Result<> RaiseLoopback();

bool HasNamespace(const oci::LinuxPlatform& platform, std::string_view type);

}  // namespace gantry::runtime::child
