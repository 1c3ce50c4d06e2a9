// SPDX-License-Identifier: Apache-2.0
//
// --security-opt: "no-new-privileges[=BOOL]", "seccomp=unconfined|builtin|JSON",
// "apparmor=PROFILE", "label=…", "writable-cgroups[=BOOL]"; "KEY:VALUE" is docker's older form.
// Pure; any thread.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "engine/config.h"

namespace gantry::engine {

struct SecurityOptions {
  bool no_new_privileges = false;
  std::string seccomp;                   // "", "unconfined", "builtin" or a profile
  std::string apparmor;                  // "": the default
  std::optional<bool> writable_cgroups;  // unset: as privileged
};

// Errors: kInvalidArgument in docker's words, "invalid --security-opt 2: \"x=y\"". Labels are of
// SELinux: what they are is checked, nothing is done with them on a host without it.
Result<SecurityOptions> ParseSecurityOptions(const HostConfig& host);

// The same, and whether an inline seccomp profile can be read.
Result<> CheckSecurityOptions(const HostConfig& host);

}  // namespace gantry::engine
