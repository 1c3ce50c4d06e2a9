// SPDX-License-Identifier: Apache-2.0
//
// A container's transient scope: made, changed and removed by calls to systemd over D-Bus, the
// system's or the user's own (org.freedesktop.systemd1(5)). Each call has a bound. One thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "runtime/systemd_properties.h"

namespace gantry::runtime {

enum class SystemdInstance : uint8_t { kSystem, kUser };

struct ScopeRequest {
  ScopeName name;
  std::string description;
  pid_t pid = 0;  // the scope's first process
  UnitProperties properties;
};

// Returns when the process is in the scope's cgroup.
Result<> StartScope(SystemdInstance instance, const ScopeRequest& request);
// At once and until the unit is gone; also kept by daemon-reload.
Result<> SetScopeProperties(SystemdInstance instance, const std::string& unit,
                            const UnitProperties& properties);
// Moves a process into the scope's cgroup, where our own rights do not suffice.
Result<> AttachToScope(SystemdInstance instance, const std::string& unit, pid_t pid);
// Kills what is in it, stops it, and forgets it if it has failed. One that is not there is no
// error.
Result<> StopScope(SystemdInstance instance, const std::string& unit);

}  // namespace gantry::runtime
