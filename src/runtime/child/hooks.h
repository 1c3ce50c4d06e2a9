// SPDX-License-Identifier: Apache-2.0
//
// Hooks of config.json (config.md, "POSIX-platform Hooks"). Runs in the runtime and in the child.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"

namespace gantry::runtime::child {

// Runs each in order with the state on standard input; the first that fails or exceeds its timeout
// (it is then killed) is the error. Their output goes to ours.
Result<> RunHooks(const std::vector<oci::Hook>& hooks, std::string_view name,
                  const std::string& state);

// All of them: the container is gone whatever they say, so a failure is a warning on standard error
// (runtime.md, lifecycle step 13).
void RunPoststopHooks(const oci::Spec& spec, const std::string& state);

}  // namespace gantry::runtime::child
