// SPDX-License-Identifier: Apache-2.0
//
// Who the process is and what it may do: the last steps before execve, in the child, inside the
// container's root. The order matters and is explained at each step.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/child/plan.h"

namespace gantry::runtime::child {

// Before the root is entered: oom score, limits, scheduling, keyring; opens the files of labels.
// Needs the host's /proc.
Result<> ApplyProcessAttributes(const ProcessPlan& plan);

// After the root is entered. `environment` gets HOME where it is missing. Ends with the seccomp
// filter, so little can be called afterwards.
Result<> BecomeUser(const ProcessPlan& plan, std::vector<std::string>* environment);

// Only environment, directory and user as BecomeUser will have them; used to find the program.
Result<std::string> FindProgram(const oci::Process& process,
                                const std::vector<std::string>& environment);

// The value of a variable; the last one counts.
std::string_view Variable(const std::vector<std::string>& environment, std::string_view name);

}  // namespace gantry::runtime::child
