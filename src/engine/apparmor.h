// SPDX-License-Identifier: Apache-2.0
//
// AppArmor as docker's users know it: where the kernel has it, every container that is not
// privileged and does not say otherwise runs under the profile "docker-default", which the engine
// makes and loads itself. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/config.h"

namespace gantry::engine {

inline constexpr std::string_view kDefaultAppArmorProfile = "docker-default";

// The kernel enforces profiles, and the program that loads them is there.
bool HostUsesAppArmor();

// The profile of a container: what --security-opt says, else by default. "unconfined" is none; ""
// where the host uses no AppArmor.
std::string AppArmorProfileOf(const HostConfig& host);

// The profile's text (apparmor.d(5)): files, network and capabilities are a matter of the
// container's other walls; what could reach the host's kernel through /proc, /sys and mounts is
// denied, and signals and tracing stay among those of the same profile.
std::string AppArmorProfileText(std::string_view name);

// Loads "docker-default" unless it is loaded. Asked at each start, since the host's own service may
// have unloaded it meanwhile.
Result<> EnsureAppArmorProfile();

}  // namespace gantry::engine
